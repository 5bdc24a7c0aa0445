"""Every type of an IDL goes through COPY into Postgres and comes back as it was."""

from __future__ import annotations

import json
import random
import struct

import msgspec
import pytest
from sqlalchemy import create_engine, text

from db.copy import copy_facts
from db.declare.solana.bare import declare_program
from db.registry import Registry
from db.schema import migrate
from db.sql.columns import fact_table
from helpers import borsh, servers
from helpers.idls import FIELDS, LEGACY, NEW, TYPES
from helpers.solana_calls import Call, Log, emit, key, response
from idl import parse_idl
from idl.base58 import from_base58, to_base58
from indexer.rpc.messages import Malformed
from indexer.solana.assemble import Assembler, Placed
from indexer.solana.decode import ProgramDecoder
from indexer.solana.messages import RpcTransaction

OURS = key("ours")
IDLS = {"old": parse_idl(json.dumps(LEGACY).encode()),
        "new": parse_idl(json.dumps(NEW).encode())}  # fmt: skip
EVENTS = {name: declare_program(f"{name}shop", idl) for name, idl in IDLS.items()}
PEOPLE = [from_base58(key(name), 32) for name in "abc"]
VALUES = [
    b"\1" * 32, PEOPLE[0], 2**64 - 1, -(2**63), 255, -128, 65535, -(2**31), 2**128 - 1,
    -(2**127), True, 0.5, "zero\0and é", b"\0\xff", None, [True, False], ["a", "\0"],
    [1, 2**32 - 1], "Sell", (("Fixed", (2**63, PEOPLE[1])), [(PEOPLE[2], 3)], None),
    [(PEOPLE[0], 2**64 - 1)], [None, 7],
]  # fmt: skip
PLAIN = [f["name"] for f in FIELDS]


@pytest.fixture(scope="module")
def engine(postgres_url):
    registry = Registry.of([*EVENTS["old"], *EVENTS["new"]])
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, registry)
        yield engine
        engine.dispose()


def assembled(name, calls, *, wanted=None, **how):
    events = EVENTS[name]
    decoder = ProgramDecoder(events[0].spec.source, events)
    raw = json.dumps(response(calls, slot=9, index=3, **how)).encode()
    transaction = msgspec.json.decode(raw, type=RpcTransaction)
    ids = wanted or frozenset(event.spec.id for event in events)
    return Assembler({OURS: decoder}).assemble(
        [Placed(transaction, 3, 1_700_000_000)], frozenset([OURS]), ids
    )


def rows(engine, facts):
    table = fact_table(facts.event)
    with engine.begin() as connection:
        copy_facts(connection, table, 1, facts)
        found = connection.execute(text(f"SELECT * FROM facts.{table.name}")).mappings()
        listed = [dict(row) for row in found]
        connection.execute(text(f"TRUNCATE facts.{table.name}"))
    return listed


def body(values=VALUES):
    kinds = [each["type"] for each in FIELDS]
    return b"".join(
        borsh.write(TYPES, k, v) for k, v in zip(kinds, values, strict=True)
    )


EXPECTED = {
    "purchase_id": b"\1" * 32,
    "buyer": PEOPLE[0],
    "amount": 2**64 - 1,
    "delta": -(2**63),
    "tiny": 255,
    "low": -128,
    "mid": 65535,
    "cold": -(2**31),
    "wide": 2**128 - 1,
    "wide_signed": -(2**127),
    "done": True,
    "ratio": 0.5,
    "note": "zero\ufffdand é",
    "blob": b"\0\xff",
    "maybe": None,
    "bits": [True, False],
    "names": ["a", "\ufffd"],
    "pair": ["1", str(2**32 - 1)],
    "kind": "Sell",
    "terms": {
        "fee": {"Fixed": {"amount": str(2**63), "mint": to_base58(PEOPLE[1])}},
        "splits": [{"recipient": to_base58(PEOPLE[2]), "amount": "3"}],
        "note": None,
    },
    "payouts": [{"recipient": to_base58(PEOPLE[0]), "amount": str(2**64 - 1)}],
    "deep": [None, "7"],
}


def plain(value):
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize("name", ["old", "new"])
def test_every_type_of_an_event(engine, name):
    start = IDLS[name].event("Everything").discriminator
    made = assembled(name, [Call(OURS, b"\xee", [], [emit(OURS, start + body())])])

    [facts] = made.facts
    [row] = rows(engine, facts)
    assert {k: plain(row[k]) for k in EXPECTED} == EXPECTED
    assert plain(row["program"]) == from_base58(OURS, 32)
    assert len(row["transaction"]) == 64
    assert row["position"] == 9 << 32 | 3 << 16 | 1
    mended = [each for each in made.undecodable if each.kept]
    assert [each.position for each in mended] == [row["position"]]


@pytest.mark.parametrize("name", ["old", "new"])
def test_arguments_and_accounts_of_an_instruction(engine, name):
    layout = IDLS[name].instruction("settle_now")
    named = [key("payer"), key("other"), key("token"), key("ref")]
    data = layout.discriminator + body()
    made = assembled(name, [
        Call(OURS, data, named),
        Call(OURS, data, [*named[:3], OURS]),  # the last is left out
        Call(OURS, data, named[:3]),
        Call(OURS, data, named[:2]),  # one too few
    ])  # fmt: skip

    [facts] = made.facts
    found = rows(engine, facts)
    assert [row["vault_referrer"] for row in found] == [key("ref"), None, None]
    assert [plain(row["fee_payer"]) for row in found] == [from_base58(named[0], 32)] * 3
    assert plain(found[0]["amount_account"]) == from_base58(named[1], 32)
    assert found[0]["amount"] == 2**64 - 1
    assert [e.reason for e in made.undecodable if not e.kept] == ["2 accounts, not 3"]


def test_events_of_a_fixed_size_are_columns(engine):
    start = IDLS["new"].event("Plain").discriminator
    bodies = [start + struct.pack("<QQ", at, 2**64 - 1 - at) for at in range(50)]
    made = assembled("new", [Call(OURS, b"\xee", [], [Log(b) for b in bodies])])

    [facts] = made.facts
    assert not any(isinstance(column, list) for column in facts.values.values())
    found = rows(engine, facts)
    assert [(row["left_"], row["right_"]) for row in found] == [
        (at, 2**64 - 1 - at) for at in range(50)
    ]


def test_only_what_is_wanted_becomes_facts():
    start = IDLS["new"].event("Plain").discriminator
    calls = [Call(OURS, b"\xee", [], [Log(start + bytes(16))])]
    [plain_event] = [e for e in EVENTS["new"] if e.spec.table.endswith("_plain")]
    others = frozenset(e.spec.id for e in EVENTS["new"]) - {plain_event.spec.id}

    assert assembled("new", calls).facts
    assert not assembled("new", calls, wanted=others).facts


def test_what_the_idl_does_not_know_is_kept_raw():
    made = assembled("old", [Call(OURS, b"new call", [key("x")], [Log(b"new event")])])

    assert [(each.data, each.kept) for each in made.undecodable] == [
        (b"new event", False),
        (b"new call", False),
    ]
    assert made.unknown == 2


def test_short_bodies_are_refused_one_by_one():
    start = IDLS["new"].event("Plain").discriminator
    everything = IDLS["new"].event("Everything").discriminator + body()
    good, short = start + bytes(16), start + bytes(15)
    made = assembled("new", [Call(OURS, b"\xee", [], [
        Log(good), Log(short), Log(everything[:-1]), Log(everything)])])  # fmt: skip

    assert sorted(len(facts) for facts in made.facts) == [1, 1]
    refused = [each.data for each in made.undecodable if not each.kept]
    assert sorted(refused) == sorted([b"\xee", short, everything[:-1]])


def test_failed_transactions_are_kept_with_the_programs_words():
    calls = [Call(OURS, b"\xee", [], [Log(b"never")])]
    error = {"InstructionError": [0, {"Custom": 6000}]}
    made = assembled("new", calls, error=error)

    [failed] = made.failed
    assert (failed.code, failed.error) == (6000, "TooMuch")
    assert failed.program == from_base58(OURS, 32)
    assert not made.facts
    assert not made.undecodable
    other = assembled("new", calls, error="InsufficientFundsForFee").failed[0]
    assert (other.code, other.error) == (None, '"InsufficientFundsForFee"')


def test_hostile_bytes_raise_nothing():
    chance = random.Random(7)
    starts = [each.discriminator for each in (*IDLS["new"].events,
                                              *IDLS["new"].instructions)]  # fmt: skip
    for _ in range(300):
        junk = chance.choice(starts) + chance.randbytes(chance.randrange(300))
        does = [Log(junk), emit(OURS, junk)] if chance.random() < 0.7 else []
        assembled("new", [Call(OURS, junk, [], does)], version=chance.choice([0, 1]))


def test_more_than_a_transaction_can_do_is_refused():
    start = IDLS["new"].event("Plain").discriminator
    calls = [Call(OURS, b"\xee", [], [Log(start + bytes(16))] * 70_000)]

    with pytest.raises(Malformed, match="things"):
        assembled("new", calls, limit=10**9)
