"""Programs as sources of events: what an IDL says, and what is refused."""

import pytest

from db.declare import (
    DeclarationError,
    Event,
    Json,
    Key,
    Latest,
    Program,
    Projection,
    Pubkey,
    Sum,
    Text,
    Uint,
)
from db.declare.fields import FieldKind
from db.declare.solana.bare import declare_program
from helpers.programs import SHOP

shop = Program("shop", SHOP)


def test_every_event_and_instruction_becomes_an_event_with_all_its_parts():
    events = {event.spec.table: event.spec for event in declare_program("shop", SHOP)}

    assert list(events) == ["shop_sold", "shop_deposit", "shop_deposit_instruction"]
    kinds = {n: f.describe() for n, f in events["shop_sold"].fields.items()}
    assert kinds == {
        "buyer": "Pubkey:bytea(32)",
        "from_": "Pubkey:bytea(32)",
        "price": "Uint:numeric/64",
        "change": "Int:bigint/32",
        "gift": "Bool:boolean",
        "title": "Text:text",
        "digest": "FixedBytes:bytea(32)",
        "proof": "Blob:bytea",
        "note": "Json:jsonb",
        "state": "Text:text",
        "shares": "Json:jsonb",
        "program": "Pubkey:bytea(32)",
    }
    call = events["shop_deposit_instruction"]
    assert {n: (f.kind, f.param) for n, f in call.fields.items()} == {
        "amount": (FieldKind.NUMERIC, "amount"),
        "owner": (FieldKind.BYTES, "accounts.owner"),
        "amount_account": (FieldKind.BYTES, "accounts.amount"),
        "referrer": (FieldKind.JSON, "accounts.referrer"),
        "program": (FieldKind.BYTES, None),
    }


def test_declared_fields_are_tied_to_the_idl():
    class Sold(Event):
        source = shop
        buyer = Pubkey()
        paid = Uint(128, param="price")

    class Deposited(Event):
        source = shop
        name = "deposit"
        owner = Pubkey()
        account = Pubkey(param="accounts.amount")
        referrer = Json()

    class Buyer(Projection):
        buyer = Key()
        paid = Sum(Sold.paid)
        last = Latest(Sold.transaction)

    assert Sold.spec.fields["paid"].param == "price"
    assert Deposited.spec.fields["owner"].param == "accounts.owner"
    assert Buyer.spec.folds["last"].field.describe() == "Signature:bytea(64)"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            {"name": "Solt"},
            "no event or instruction Solt. Remedy: write name= with one of",
        ),
        (
            {"buyr": Pubkey()},
            "has no field 'buyr'. Remedy: write param= with one of buyer, from",
        ),
        ({"buyer": Text()}, "Text cannot hold pubkey buyer"),
        ({"price": Uint(32)}, "Uint cannot hold u64 price"),
        ({"where": {"gift": True}}, "Event.only"),
    ],
)
def test_what_the_idl_does_not_have_is_refused(body, problem):
    with pytest.raises(DeclarationError) as refused:
        type(Event)("Sold", (Event,), {"source": shop, **body})

    assert problem in str(refused.value).replace("\n", " ")


def test_keys_are_base58_outside_and_bytes_inside():
    key = Pubkey()
    key.name = "owner"
    text = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"

    assert key.text(key.check(text)) == text
    assert len(key.check(text)) == 32
    for wrong in ("0x" + "00" * 32, text[:-9], "O" * 44, "1" * 10_000, ""):
        with pytest.raises(ValueError, match="owner"):
            key.check(wrong)
