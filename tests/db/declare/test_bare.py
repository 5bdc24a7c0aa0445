"""Contracts that have an ABI and no code: every event becomes a table."""

import pytest

from db.declare import DeclarationError, Event
from db.declare.events import RESERVED
from db.declare.evm.bare import declare_events
from db.declare.evm.signatures import signature
from db.registry import Registry
from db.schema import migrate
from helpers.ledger import abi_event


def by_name(abi, name="Token"):
    return {event.spec.name: event for event in declare_events(name, abi)}


def columns(event):
    return {name: field.describe() for name, field in event.spec.fields.items()}


def test_a_plain_event():
    (event,) = declare_events(
        "TestToken",
        [abi_event("Transfer", sender="indexed_address", tokenId="uint256")],
    )

    assert issubclass(event, Event)
    assert "test_token_transfer" == event.spec.table
    assert "test_token.Transfer" == event.spec.id
    assert "Transfer(address,uint256) of TestToken." == event.spec.doc
    assert {
        "sender": "Address:bytea(20)",
        "token_id": "Uint:numeric/256",
        "contract": "Address:bytea(20)",
    } == columns(event)
    assert event.spec.fields["contract"].emitter


def test_overloaded_events_have_their_topic_in_the_name():
    found = by_name(
        [
            abi_event("Transfer", a="address", b="address", c="uint256"),
            abi_event("Transfer", a="address"),
            abi_event("Other"),
        ]
    )

    assert {"Transfer_ddf252ad", "Transfer_2d339b1e", "Other"} == set(found)
    assert "token_transfer_ddf252ad" == found["Transfer_ddf252ad"].spec.table


def test_events_whose_names_differ_by_case_are_told_apart():
    found = by_name([abi_event("transfer", a="address"), abi_event("Transfer")])

    tables = {event.spec.table for event in found.values()}
    assert 2 == len(tables)
    assert all(table.startswith("token_transfer_") for table in tables)
    Registry.of(found.values())


def test_an_event_that_is_there_twice_is_declared_once():
    """Proxies' ABIs are often put together from two."""
    upgraded = abi_event("Upgraded", implementation="indexed_address")

    assert ["Upgraded"] == list(by_name([upgraded, dict(upgraded)]))


def test_names_that_sql_or_chainfold_reserve():
    names = "from to user order position height name source mro block_time chain"
    inputs = dict.fromkeys([*names.split(), "contract"], "uint256")
    (event,) = declare_events("Token", [abi_event("Odd", **inputs)])

    fields = event.spec.fields
    assert RESERVED.isdisjoint(fields)
    assert {"from_", "to_", "user_", "order_", "position_", "contract"} <= set(fields)
    assert "from" == fields["from_"].param
    assert "contract" == fields["contract"].param
    assert fields["contract_"].emitter


def test_parameters_without_a_name_or_with_the_same_one():
    item = abi_event("Odd")
    item["inputs"] = [
        {"name": "", "type": "uint256"},
        {"type": "address", "indexed": True},
        {"name": "_value", "type": "bool"},
        {"name": "value", "type": "bool"},
        {"name": "Value", "type": "bool"},
        {"name": "$x", "type": "bool"},
        {"name": "9lives", "type": "bool"},
        {"name": "__", "type": "bool"},
        {"name": "naïve", "type": "bool"},
    ]
    (event,) = declare_events("Token", [item])

    names = list(event.spec.fields)
    assert ["arg0", "arg1", "value", "value_", "value__", "x", "arg_9lives"] == names[
        :7
    ]
    assert ["arg", "na_ve", "contract"] == names[7:]


def test_arrays_structs_and_indexed_dynamic_types():
    item = abi_event(
        "Odd", ids="uint256[]", pair="bytes32[2]", title="indexed_string",
        blob="indexed_bytes", list="indexed_uint8[]", raw="bytes", call="function",
        level="int24", tag="bytes4",
    )  # fmt: skip
    item["inputs"].append(
        {
            "name": "order",
            "type": "tuple",
            "indexed": False,
            "components": [{"name": "x", "type": "uint256"}],
        }
    )
    (event,) = declare_events("Token", [item])

    assert {
        "ids": "Json:jsonb",
        "pair": "Json:jsonb",
        "title": "Hash:bytea(32)",
        "blob": "Hash:bytea(32)",
        "list": "Hash:bytea(32)",
        "raw": "Blob:bytea",
        "call": "Blob:bytea",
        "level": "Int:bigint/24",
        "tag": "FixedBytes:bytea(4)",
        "order_": "Json:jsonb",
        "contract": "Address:bytea(20)",
    } == columns(event)


def test_anonymous_events_are_left_out():
    hidden = abi_event("Hidden", a="uint256") | {"anonymous": True}

    assert ["Seen"] == list(by_name([hidden, abi_event("Seen")]))


def test_an_abi_without_events():
    assert [] == declare_events("Token", [{"type": "function", "name": "f"}])


LONG = "VeryLongEventNameThatSomebodyThoughtWasAGoodIdea"


@pytest.mark.parametrize("contract", ["T", "UniswapV2FactoryOfFactories", "A" * 30])
def test_long_names_are_cut_and_stay_different(contract):
    events = declare_events(
        contract,
        [
            abi_event(LONG + "One", **{"p" * 60: "uint256", "p" * 59: "uint256"}),
            abi_event(LONG + "Two"),
            abi_event("ALLCAPS" * 8, a="uint256"),
            abi_event("Short"),
        ],
    )

    registry = Registry.of(events)
    assert 4 == len(registry.events)
    assert all(len(event.spec.table) <= 45 for event in events)
    assert all(len(name) <= 41 for name in events[0].spec.fields)


def test_a_contract_name_that_leaves_no_room():
    with pytest.raises(DeclarationError, match="longer than 45"):
        Registry.of(declare_events("A" * 44, [abi_event("Short")]))


def test_the_tables_can_be_made(db_engine):
    """Reserved words, two keys of one name, long names: Postgres takes them all."""
    words = ["select", "table", "user", "ctid", "xmin", "from", "limit", "Offset"]
    events = declare_events(
        "Odd",
        [
            abi_event("Select", **dict.fromkeys(words, "uint256")),
            abi_event(LONG, **{"p" * 60: "string", "P" * 60: "string"}),
            abi_event("Empty"),
        ],
    )
    registry = Registry.of(events)

    assert set(registry.events) == set(migrate(db_engine, registry).created)


def transfer(*indexed):
    names = ("from", "to", "value")
    kinds = ("address", "address", "uint256")
    inputs = [
        {"name": n, "type": k, "indexed": i}
        for n, k, i in zip(names, kinds, indexed, strict=True)
    ]
    return {"type": "event", "name": "Transfer", "inputs": inputs}


def test_events_of_one_signature_that_index_other_parameters_are_two():
    """`Transfer` of ERC-20 and of ERC-721 have one topic 0 and two layouts."""
    both = [transfer(True, True, False), transfer(True, True, True)]

    events = declare_events("Mixed", [both[0], *both])

    assert [event.spec.table for event in events] == [
        "mixed_transfer_ddf252ad_2",
        "mixed_transfer_ddf252ad_3",
    ]
    flags = [[i["indexed"] for i in e.spec.schema["inputs"]] for e in events]
    assert flags == [[True, True, False], [True, True, True]]


def test_short_names_of_types_are_read_as_the_long_ones():
    written = {"type": "event", "name": "Paid", "inputs": [
        {"name": "amount", "type": "uint", "indexed": False},
        {"name": "deltas", "type": "int[2]", "indexed": False},
    ]}  # fmt: skip

    (event,) = declare_events("Till", [written])

    assert signature(event.spec.schema) == "Paid(uint256,int256[2])"


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"name": "Odd", "inputs": [{"name": "x", "type": "fixed168x10"}]}, "fixed"),
        ({"name": "Odd", "inputs": [{"name": "x", "type": "Kind.Enum"}]}, "Kind.Enum"),
        ({"name": "Odd", "inputs": [], "anonymous": True}, "anonymous"),
    ],
)
def test_one_odd_event_is_left_out_in_words_and_the_others_are_kept(item, why, caplog):
    events = declare_events("Till", [{"type": "event", **item}, transfer(1, 1, 0)])

    assert [event.spec.schema["name"] for event in events] == ["Transfer"]
    assert "event_skipped contract=Till event=Odd" in caplog.text
    assert why in caplog.text
