"""How fast events and whole Solana transactions are decoded, beside others.

Times are CPU times of this process, the least of some rounds, so that neighbours on the
machine count little. The transaction is a settlement: 14 inner instructions, 49 lines
of logs, one event.
"""

import hashlib
import json
import struct
import time

import msgspec
import orjson
import pytest
from anchorpy.coder.coder import Coder
from anchorpy_core.idl import Idl as AnchorIdl

from db.copy import _fixed_rows, _joined_rows
from db.declare.solana.bare import declare_program
from helpers.idls import LEGACY
from helpers.solana_calls import Call, Log, Say, emit, key, response
from idl import parse_idl
from idl.codec import Decoder
from indexer.rpc.messages import collector_paused
from indexer.solana.assemble import Assembler, Placed
from indexer.solana.decode import ProgramDecoder
from indexer.solana.messages import RpcTransaction

IDL = parse_idl(json.dumps(LEGACY).encode())
EVENT = IDL.event("Settled")
OURS, TOKEN, BUDGET = key("ours"), key("token program"), key("budget")
ROUNDS, COUNT = 25, 200  # as many as a few answers of a node hold


def body(number):
    payouts = b"".join(
        hashlib.sha256(bytes([number % 200, at])).digest() + struct.pack("<Q", at)
        for at in range(3)
    )
    return bytes(range(96)) + struct.pack("<QQI", number, 7, 3) + payouts


def seconds(verb, times=1):
    """The least CPU time of a round, for each of its `times`."""
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            verb()
        took.append(time.process_time() - began)
    return min(took) / times


@pytest.mark.bench
def test_an_event_beside_anchorpy(capsys):
    one = body(5)
    anchor = Coder(AnchorIdl.from_json(json.dumps(LEGACY))).events
    decoder = Decoder(EVENT.fields, IDL.types)
    whole = EVENT.discriminator + one

    ours = seconds(lambda: decoder.decode(whole, 8), 20_000)
    theirs = seconds(lambda: anchor.parse(whole), 1_000)

    with capsys.disabled():
        print(f"\nevent of {len(whole)} bytes: {1 / ours:,.0f} a second")
        print(f"anchorpy: {1 / theirs:,.0f}; {theirs / ours:.0f} times (wanted: 25)")


def settlement(number, kind):
    transfers = [
        Call(TOKEN, bytes(10), [key(n) for n in "abmp"])
        for _ in range(13 if kind == "call" else 14)
    ]
    event = EVENT.discriminator + body(number)
    said = emit(OURS, event) if kind == "call" else Log(event)
    settle = Call(
        OURS, IDL.instructions[0].discriminator + bytes(20),
        [key(f"k{n}") for n in range(12)],
        [Say("Instruction: Settle"), *transfers, said],
    )  # fmt: skip
    return [Call(BUDGET, b"\2\0\0\0\0"), settle]


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["call", "line"])
def test_whole_transactions_to_rows(kind, capsys):
    bodies = [
        json.dumps(response(settlement(n, kind), name=str(n), index=n)).encode()
        for n in range(COUNT)
    ]
    events = declare_program("benchshop", IDL)
    decoder = ProgramDecoder(events[0].spec.source, events)
    assembler = Assembler({OURS: decoder})
    [settled] = [e for e in events if e.spec.table.endswith("_settled")]
    parser = msgspec.json.Decoder(RpcTransaction)

    def read():
        with collector_paused():
            found = [parser.decode(each) for each in bodies]
            placed = [Placed(t, t.transaction_index, t.block_time) for t in found]
            made = assembler.assemble(
                placed, frozenset([OURS]), frozenset([settled.spec.id])
            )
            [facts] = made.facts
            columns = [facts.transactions, *facts.values.values()]
            rows = _joined_rows if any(isinstance(c, list) for c in columns) else None
            (rows or (lambda c, _: _fixed_rows(c)))(columns, len(facts))
        assert len(facts) == COUNT

    took = seconds(read) / COUNT
    parsed = seconds(lambda: [orjson.loads(each) for each in bodies]) / COUNT
    lines = len(json.loads(bodies[0])["meta"]["logMessages"])
    with capsys.disabled():
        print(f"\nevent in a {kind}, {len(bodies[0])} bytes, {lines} lines of logs:")
        print(f"{1 / took:,.0f} transactions a second and core (wanted: 20,000);")
        print(f"orjson alone: {1 / parsed:,.0f}")
