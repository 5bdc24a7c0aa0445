"""A program with several IDLs: each event by the version of its slot."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from db.declare import FieldKind
from db.declare.solana.bare import declare_program
from db.registry import Registry
from db.schema import ChangedEvent, migrate
from devnet.programs import build
from devnet.solana import ledger
from helpers.solana_calls import Call, Log, key, response
from helpers.solana_following import ADDRESS, catch_up, following
from idl import parse_idl
from idl.model import IdlVersion
from indexer.solana.assemble import Assembler, FollowedProgram, Placed
from indexer.solana.decode import ProgramDecoder
from indexer.solana.messages import RpcTransaction
from indexer.streams import Wanted, plan_streams
from test_architecture import ROOT

OLD = json.loads((ROOT / "idl/ledger.json").read_text())


def with_marked(*fields):
    """The ledger's IDL, with other fields in `Marked`."""
    raw = json.loads(json.dumps(OLD))
    [marked] = [each for each in raw["types"] if each["name"] == "Marked"]
    marked["type"]["fields"] = [{"name": n, "type": t} for n, t in fields]
    return raw


NEW = with_marked(("first", "u64"), ("second", "u64"), ("sum", "u64"))


def versions(*given):
    return [IdlVersion(first, parse_idl(raw)) for first, raw in given]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory):
    """The program with a third number in `Marked`, really compiled."""
    home = tmp_path_factory.mktemp("programs")
    shutil.copytree(
        build.PACKAGE, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so")
    )
    source = home / "ledger" / "ledger.c"
    old = """    store64(event + 16, take64(reader));
    if (reader->failed) return ANCHOR_DID_NOT_DESERIALIZE;
    emit_line(event, 24);"""
    new = """    store64(event + 16, take64(reader));
    if (reader->failed) return ANCHOR_DID_NOT_DESERIALIZE;
    store64(event + 24, load64(event + 8) + load64(event + 16));
    emit_line(event, 32);"""
    assert source.read_text().count(old) == 1
    source.write_text(source.read_text().replace(old, new))
    patched = pytest.MonkeyPatch()
    patched.setattr(build, "PACKAGE", home)
    try:
        return build.build("ledger")
    finally:
        patched.undo()


def read(engine, node, given, refetch=()):
    events = declare_program("led", given)
    registry = Registry.of(events)
    migrate(engine, registry, refetch=refetch)
    programs = [FollowedProgram(events[0].spec.source, {ADDRESS: 0}, events)]

    async def run():
        async with following(
            engine, [node.url], registry=registry, programs=programs
        ) as chain:
            await catch_up(chain)

    asyncio.run(run())


def rows(engine, table, columns):
    with engine.connect() as connection:
        query = f"SELECT {columns} FROM facts.{table} ORDER BY position"
        return [tuple(map(int, row)) for row in connection.execute(text(query))]


def odd(engine):
    with engine.connect() as connection:
        query = "SELECT event, reason FROM control.undecodable_log ORDER BY position"
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.chain
@pytest.mark.slow
def test_a_program_that_is_upgraded_in_the_middle(db_engine, node, town, upgraded):
    """What the old IDL cannot read is kept as bytes, and is facts with the new one."""

    def mark(*pairs):
        for pair in pairs:
            town.devnet.send(ledger.mark(*pair))
            town.pass_slots(2)

    mark((1, 2), (3, 4))
    town.devnet.add_program(ledger.PROGRAM, upgraded)
    first = town.pass_slots(2)
    mark((5, 6), (7, 8))
    town.pass_slots(40)
    read(db_engine, node, parse_idl(OLD))
    assert rows(db_engine, "led_marked", "first, second") == [(1, 2), (3, 4)]
    assert odd(db_engine) == [("led.Marked", "32 bytes, not 24")] * 2

    both = versions((0, OLD), (first, NEW))
    with pytest.raises(ChangedEvent, match="--refetch led.Marked"):
        read(db_engine, node, both)
    read(db_engine, node, both, refetch=["led.Marked"])

    assert rows(db_engine, "led_marked", "first, second") == [(1, 2), (3, 4)]
    told = rows(db_engine, "led_marked_v2", "first, second, sum")
    assert told == [(5, 6, 11), (7, 8, 15)]
    assert odd(db_engine) == []
    calls = rows(db_engine, "led_mark_instruction", "first, second")
    assert calls == [(1, 2), (3, 4), (5, 6), (7, 8)]  # these are the same in both


@pytest.mark.chain
def test_the_same_bytes_are_read_otherwise_from_the_slot_on(db_engine, node, town):
    """No length tells: the IDL before would read them wrongly."""
    for number in (1, 2, 3, 4):
        town.devnet.send(ledger.mark(number, 2**64 - number))
        town.pass_slots(2)
    town.pass_slots(40)
    read(db_engine, node, parse_idl(OLD))
    with db_engine.connect() as connection:
        query = "SELECT position >> 32 FROM facts.led_marked ORDER BY position"
        slots = list(connection.execute(text(query)).scalars())

    signed = with_marked(("first", "u64"), ("change", "i64"))
    both = versions((0, OLD), (slots[2], signed))
    read(db_engine, node, both, refetch=["led.Marked"])

    assert rows(db_engine, "led_marked", "first") == [(1,), (2,)]
    assert rows(db_engine, "led_marked_v2", "first, change") == [(3, -3), (4, -4)]


def test_a_version_that_is_added_changes_no_table_that_stays():
    """Only what it says otherwise is another event, read from its slot on."""
    one = Registry.of(declare_program("led", parse_idl(OLD)))
    two = Registry.of(declare_program("led", versions((0, OLD), (900, NEW))))
    back = Registry.of(
        declare_program("led", versions((0, OLD), (900, NEW), (2_000, OLD)))
    )

    def described(registry):
        return {name: e.spec.describe() for name, e in registry.events.items()}

    before, after = described(one), described(two)
    assert {n for n in before if before[n] != after[n]} == {"led.Marked"}
    assert after.keys() - before.keys() == {"led.MarkedV2"}
    assert after["led.Marked"]["heights"] == [[0, 900]]
    assert described(back)["led.Marked"]["heights"] == [[0, 900], [2_000, None]]
    assert described(back).keys() == after.keys()
    streams = plan_streams(two, Wanted(7, {"led": {ADDRESS: 7}}))
    starts = {each.event: each.start for each in streams}
    assert (starts["led.Marked"], starts["led.MarkedV2"]) == (7, 900)
    told = two.events["led.MarkedV2"].spec.doc
    assert told == "Event Marked of led, from slot 900."


KINDS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q"}
SHAPES = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3)
OURS = key("ours")


@given(
    shapes=st.lists(SHAPES, min_size=1, max_size=5),
    gaps=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    told=st.lists(st.tuples(st.integers(0, 20), SHAPES), min_size=1, max_size=12),
    extra=st.binary(max_size=2),
)
def test_each_event_is_read_by_the_version_of_its_slot(shapes, gaps, told, extra):
    """Compared with a reference of a few lines: bytes fit that version, or are kept."""
    firsts = [0]
    for gap in gaps:
        firsts.append(firsts[-1] + gap)
    idls = [with_marked(*((f"f{n}", t) for n, t in enumerate(s))) for s in shapes]
    events = declare_program("led", versions(*zip(firsts, idls, strict=False)))
    start = bytes(
        next(e["discriminator"] for e in OLD["events"] if e["name"] == "Marked")
    )
    placed, expected, kept = [], [], 0
    for at, (slot, shape) in enumerate(sorted(told, key=lambda each: each[0])):
        body = b"".join(struct.pack(KINDS[kind], n + 1) for n, kind in enumerate(shape))
        body += extra
        raw = response([Call(OURS, does=[Log(start + body)])], slot=slot, index=at)
        transaction = msgspec.json.decode(json.dumps(raw).encode(), type=RpcTransaction)
        placed.append(Placed(transaction, at, 0))
        number = max(
            n for n, first in enumerate(firsts[: len(shapes)]) if first <= slot
        )
        format_ = "<" + "".join(KINDS[kind][1] for kind in shapes[number])
        if struct.calcsize(format_) == len(body):
            home = next(n for n, each in enumerate(shapes) if each == shapes[number])
            name = "Marked" if home == 0 else f"MarkedV{home + 1}"
            expected.append((name, at, struct.unpack(format_, body)))
        else:
            kept += 1
    decoder = ProgramDecoder(events[0].spec.source, events)

    made = Assembler({OURS: decoder}).assemble(
        placed, frozenset([OURS]), frozenset(each.spec.id for each in events)
    )

    found = []
    for facts in made.facts:
        spec = facts.event.spec
        for row, position in enumerate(facts.positions):
            values = tuple(
                _number(spec.fields[name], bytes(column[row]))
                for name, column in facts.values.items()
                if name != "program"
            )
            found.append((spec.name, int(position) >> 16 & 0xFFFF, values))
    assert sorted(found, key=lambda each: each[1]) == expected
    assert [each.event for each in made.undecodable].count("led.Marked") == kept


def _number(field, data):
    """A whole number in Postgres's binary form."""
    if field.kind is FieldKind.BIGINT:
        return int.from_bytes(data, "big", signed=True)
    count, weight, _, _, *digits = struct.unpack(f">{len(data) // 2}h", data)
    assert count == len(digits)
    return sum(d * 10_000 ** (weight - at) for at, d in enumerate(digits))
