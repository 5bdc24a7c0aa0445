"""Both forms of IDLs become one model, and what is not one is refused with a remedy."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest

from helpers.idls import LEGACY, NEW
from idl import IdlError, load_idl, parse_idl
from idl.base58 import from_base58, to_base58
from idl.parse import snake_case
from idl.types import PUBKEY, Array, Map, NamedType, Primitive, Struct, Tuple, Vec


def parsed(raw):
    return parse_idl(json.dumps(raw).encode())


def changed(**members):
    return {**copy.deepcopy(NEW), **members}


def test_old_and_new_forms_say_the_same():
    old, new = parsed(LEGACY), parsed(NEW)

    assert [each.fields for each in old.events] == [each.fields for each in new.events]
    assert old.instructions[0].fields == new.instructions[0].fields
    assert old.instructions[0].accounts == new.instructions[0].accounts
    assert old.accounts[0].fields == new.accounts[0].fields
    assert old.errors == new.errors
    assert old.errors[6000].name == "TooMuch"


def test_old_discriminators_are_hashes_of_names():
    idl = parsed(LEGACY)

    assert (
        idl.event("Plain").discriminator == hashlib.sha256(b"event:Plain").digest()[:8]
    )
    assert (
        idl.instruction("settle_now").discriminator
        == hashlib.sha256(b"global:settle_now").digest()[:8]
    )
    assert (
        idl.accounts[0].discriminator == hashlib.sha256(b"account:Receipt").digest()[:8]
    )


def test_new_discriminators_have_any_length():
    assert parsed(NEW).instruction("settle_now").discriminator == b"\x09"


def test_an_instruction_is_named_by_one_byte_as_shank_writes_it():
    raw = copy.deepcopy(LEGACY)
    raw["instructions"][0]["discriminant"] = {"type": "u8", "value": 3}

    assert parsed(raw).instructions[0].discriminator == b"\x03"


def test_groups_of_accounts_are_flattened_and_clashes_get_a_suffix():
    instruction = parsed(NEW).instruction("settle_now")

    assert [ref.name for ref in instruction.accounts] == [
        "fee_payer", "amount", "vault_token", "vault_referrer",
    ]  # fmt: skip
    assert instruction.account_fields == (
        "fee_payer", "amount_account", "vault_token", "vault_referrer",
    )  # fmt: skip
    assert instruction.accounts[0].signer
    assert instruction.accounts[3].optional


def test_generics_are_filled_in():
    idl = parsed(
        changed(
            types=[
                *NEW["types"],
                {
                    "name": "Grid",
                    "generics": [
                        {"kind": "type", "name": "T"},
                        {"kind": "const", "name": "N", "type": "usize"},
                    ],
                    "type": {
                        "kind": "struct",
                        "fields": [
                            {
                                "name": "cells",
                                "type": {"array": [{"generic": "T"}, {"generic": "N"}]},
                            }
                        ],
                    },
                },
                {
                    "name": "Board",
                    "type": {
                        "kind": "struct",
                        "fields": [
                            {
                                "name": "grid",
                                "type": {
                                    "defined": {
                                        "name": "Grid",
                                        "generics": [
                                            {"kind": "type", "type": "pubkey"},
                                            {"kind": "const", "value": "3"},
                                        ],
                                    }
                                },
                            }
                        ],
                    },
                },
            ],
            events=[{"name": "Board", "discriminator": [1]}],
        )
    )

    [grid] = idl.event("Board").fields
    assert isinstance(grid.type, Struct)
    assert grid.type.fields[0].type == Array(PUBKEY, 3)


def test_a_type_that_holds_itself_is_left_named():
    node = {
        "name": "Node",
        "type": {
            "kind": "struct",
            "fields": [
                {"name": "kids", "type": {"vec": {"defined": {"name": "Node"}}}}
            ],
        },
    }
    idl = parsed(
        changed(
            types=[*NEW["types"], node],
            events=[{"name": "Node", "discriminator": [1]}],
        )
    )

    assert idl.event("Node").fields[0].type == Vec(NamedType("Node"))
    assert set(idl.types) == {"Node"}


def test_maps_sets_tuples_and_aliases():
    odd = {
        "kind": "struct",
        "fields": [
            {"name": "a", "type": {"hashMap": ["u8", "string"]}},
            {"name": "b", "type": {"bTreeSet": "u16"}},
            {"name": "c", "type": {"tuple": ["u8", "bool"]}},
            {"name": "d", "type": {"defined": {"name": "Alias"}}},
        ],
    }
    idl = parsed(
        changed(
            types=[
                {"name": "Odd", "type": odd},
                {"name": "Alias", "type": {"kind": "type", "alias": "u64"}},
            ],
            events=[{"name": "Odd", "discriminator": [1]}],
            accounts=[],
            instructions=[],
        )
    )

    u8, text = Primitive("u8"), Primitive("string")
    assert [each.type for each in idl.event("Odd").fields] == [
        Map(u8, text),
        Vec(Primitive("u16")),
        Tuple((u8, Primitive("bool"))),
        Primitive("u64"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maxAmountIn", "max_amount_in"),
        ("settle_now", "settle_now"),
        ("mintV2", "mint_v2"),
        ("toURLNow", "to_url_now"),
        ("X", "x"),
    ],
)
def test_names_come_out_in_snake_case(name, expected):
    assert snake_case(name) == expected


def event_of(kind):
    return changed(
        events=[{"name": "E", "discriminator": [1]}],
        types=[{"name": "E", "type": kind}],
        accounts=[],
        instructions=[],
    )


def field_of(kind):
    return event_of({"kind": "struct", "fields": [{"name": "f", "type": kind}]})


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[]", "not an object"),
        (b"{", "not JSON"),
        (b'{"name": "x", "types": ' + b"[" * 70 + b"]" * 70 + b"}", "nests deeper"),
        (b" " * (4 << 20) + b"{}", "more than"),
        ({}, "is no name"),
        ({"name": "x", "instructions": [3]}, "not an IDL"),
        (changed(address="0OIl"), "base58"),
        (changed(address="11"), "of 2 bytes"),
        (field_of("u65"), "there is no type 'u65'"),
        (field_of({"defined": {"name": "Nothing"}}), "there is no type 'Nothing'"),
        (field_of({"array": ["u8", 99999999]}), "an array of size"),
        (field_of({"vec": {"wrong": "u8"}}), "there is no type 'wrong'"),
        (field_of({}), "not an IDL"),
        (event_of({"kind": "union"}), "there is no kind 'union'"),
        (event_of({"kind": "enum", "variants": []}), "an enum of 0"),
        (event_of({"kind": "enum", "variants": [{"name": "A"}]}), "not a struct"),
        (changed(events=[{"name": "E", "discriminator": [300]}], types=NEW["types"] + [
            {"name": "E", "type": {"kind": "struct"}}]), "a list of bytes"),
        (changed(events=[NEW["events"][0], NEW["events"][0]]), "is there twice"),
        (changed(events=[NEW["events"][0], {"name": "Plain",
            "discriminator": [7, 0, 0, 0, 0, 0, 0, 1]}]), "discriminator of two"),
        (changed(errors=[{"code": "x", "name": "y"}]), "is no code"),
        (field_of({"bincode": "u64"}), "bincode of what has no length"),
        (field_of({"remainder": {"vec": "string"}}), "remainder of what has no length"),
        (changed(instructions=[{"name": "i", "discriminator": [1], "accounts": [
            {"name": "rest", "remaining": True}, {"name": "one"}]}]),
         "behind the remaining"),
    ],
)  # fmt: skip
def test_what_is_no_idl_is_refused_with_a_remedy(raw, words):
    with pytest.raises(IdlError, match=words) as caught:
        parse_idl(raw) if isinstance(raw, bytes) else parsed(raw)

    assert str(caught.value).count(": ") >= 2


def test_fields_of_one_name_are_numbered():
    """Published IDLs have two of `padding` in one account."""
    names = ["padding", "padding_2", "maxAum", "padding", "padding", "max_aum"]
    fields = [{"name": name, "type": "u8"} for name in names]

    idl = parsed(event_of({"kind": "struct", "fields": fields}))

    assert [each.name for each in idl.events[-1].fields] == [
        "padding", "padding_2", "max_aum", "padding_3", "padding_4", "max_aum_2",
    ]  # fmt: skip


def test_types_that_grow_without_end_are_refused():
    types = [
        {
            "name": f"T{at}",
            "generics": [{"kind": "type", "name": "T"}],
            "type": {"kind": "struct", "fields": [
                {"name": side, "type": {"defined": {"name": f"T{at + 1}", "generics": [
                    {"kind": "type", "type": {"generic": "T"}}]}}}
                for side in ("left", "right")
            ]},
        }
        for at in range(30)
    ]  # fmt: skip
    types[-1]["type"]["fields"] = []
    types.append({"name": "E", "type": {"kind": "struct", "fields": [
        {"name": "f", "type": {"defined": {"name": "T0", "generics": [
            {"kind": "type", "type": "u8"}]}}}]}})  # fmt: skip
    raw = changed(
        types=types,
        events=[{"name": "E", "discriminator": [1]}],
        accounts=[],
        instructions=[],
    )

    with pytest.raises(IdlError, match="nest too deeply, or are too many"):
        parsed(raw)


def test_an_idl_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(IdlError, match=r"idl/nothing\.json: there is no such IDL"):
        load_idl("nothing")
    with pytest.raises(IdlError, match="name one of: settle_now"):
        parsed(NEW).instruction("refund")


def test_base58_there_and_back():
    for raw in (bytes(32), b"\0\0" + bytes(range(30)), b"\xff" * 32, b"\1" * 64):
        assert from_base58(to_base58(raw), len(raw)) == raw
    assert to_base58(bytes(32)) == "1" * 32
    with pytest.raises(ValueError, match="too long"):
        from_base58("1" * 65, 32)
    with pytest.raises(ValueError, match="not a letter"):
        from_base58("O", 1)
