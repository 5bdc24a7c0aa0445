"""A program on a real virtual machine, followed through everything that nodes do."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from types import SimpleNamespace

import pytest
from solders.keypair import Keypair
from sqlalchemy import text

import indexer.backfill as backfill_module
import indexer.solana.listing as listing_module
from db.declare.solana.bare import declare_program
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate
from devnet.programs import build
from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.solana_following import (
    ADDRESS,
    AUTHOR,
    REGISTRY,
    Author,
    Recorded,
    Town,
    catch_up,
    following,
    stored,
)
from helpers.tables import problems
from idl import parse_idl
from indexer.backfill import run_backfill
from indexer.errors import Late, Permanent
from indexer.follow import CaughtUp, Reorged, Wrote
from indexer.rpc.endpoint import Health
from indexer.solana.assemble import FollowedProgram
from indexer.solana.reading import Reader
from test_architecture import ROOT

pytestmark = pytest.mark.chain


def follow(engine, node, *, steps=300, **options):
    async def run():
        async with following(engine, [node.url], **options) as chain:
            return await catch_up(chain, steps)

    return asyncio.run(run())


def check(engine, town):
    assert stored(engine) == town.truth()
    with engine.connect() as connection:
        assert problems(connection, REGISTRY) == []


def test_history_and_head_are_what_was_done(engine, node, town):
    for _ in range(20):
        town.act(times=town.chance.randrange(6))
        town.pass_slots(town.chance.randint(1, 4), skip=town.chance.choice([0, 0, 3]))
    town.pass_slots(3)

    follow(engine, node)

    facts, failed = town.truth()
    assert len(facts) > 20
    assert failed
    check(engine, town)
    for _ in range(5):
        town.act(times=3)
        town.pass_slots(2)
        follow(engine, node)
        check(engine, town)


def outcomes_of(engine, node, kind, **options):
    return [each for each in follow(engine, node, **options) if isinstance(each, kind)]


def test_confirmed_slots_that_do_not_become_final_are_undone(engine, node, town):
    town.act(times=3)
    town.pass_slots(40)
    for _ in range(4):
        town.act(times=2)
        town.pass_slots(2)
    town.pass_slots(2)
    follow(engine, node)
    before, _ = town.truth()

    gone = town.devnet.fork(9, keep=[each.signature for each in town.sent[-2:]])
    assert gone
    town.pass_slots(3)
    follow(engine, node)  # what hangs on the blocks is seen at once, or when final
    for _ in range(50):
        town.pass_slots(2)
    town.act(times=2)
    town.pass_slots(3)
    seen = follow(engine, node)

    assert town.truth()[0] != before
    check(engine, town)
    assert any(isinstance(each, CaughtUp) for each in seen)


def test_a_dropped_slot_is_found_when_it_should_be_final(engine, node, town):
    """Nothing else tells: no block above it that we know hangs on it."""
    town.pass_slots(40)
    town.act(times=2)
    town.pass_slots(3)
    follow(engine, node)
    assert stored(engine)[0]

    town.devnet.fork(4)
    town.pass_slots(60)
    reorged = outcomes_of(engine, node, Reorged)

    assert reorged
    check(engine, town)


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "null", "times": 3},
        {"kind": "empty", "times": 1, "method": "getSignaturesForAddress"},
        {"kind": "shuffle", "times": 5},
        {"kind": "limit", "times": 2},
        {"kind": "cut", "times": 2, "bytes": 40},
        {"kind": "stale", "times": 2, "lag": 10},
        {"kind": "stale", "times": 3, "lag": 20, "method": "getSignatureStatuses"},
        {"kind": "error", "code": -32005, "times": 2},
        {"kind": "error", "code": -32016, "times": 2},
    ],
    ids=lambda rule: f"{rule['kind']}{rule.get('code', rule.get('method', ''))}",
)
def test_a_fault_of_a_node_costs_time_and_nothing_else(engine, node, town, rule):
    for _ in range(3):
        town.act(times=4)
        town.pass_slots(20)
        follow(engine, node)
    check(engine, town)

    town.act(times=4)
    town.pass_slots(3)
    town.devnet.fault(**rule)
    follow(engine, node)
    town.pass_slots(20)
    follow(engine, node)
    town.devnet.call("devnet_clearFaults")
    town.pass_slots(1)
    follow(engine, node)

    check(engine, town)


def test_an_empty_page_is_no_beginning(engine, node, town):
    """The listing of a program that nobody has followed yet."""
    town.act(times=4)
    town.pass_slots(50)
    follow(engine, node)
    town.act(times=4)
    town.pass_slots(3)
    town.devnet.fault(kind="empty", method="getSignaturesForAddress", times=4)

    with_fault = [type(each).__name__ for each in follow(engine, node)]

    assert {"Unproved", "Contradiction"} & set(with_fault)
    check(engine, town)


def test_a_node_that_lists_nothing_below_the_least_slot_is_followed(engine, node, town):
    """Surfpool takes `minContextSlot` for a filter: it is met before the first line."""
    town.devnet.fault(kind="filter", times=0)
    for _ in range(4):
        town.act(times=4)
        town.pass_slots(town.chance.randint(1, 40))
        follow(engine, node)

        check(engine, town)


def test_a_slot_hidden_from_the_index_is_found_by_looking_again(engine, node, town):
    town.act(times=2)
    town.pass_slots(3)
    slot = town.act(times=2) or town.devnet.call("getSlot", {"commitment": "processed"})
    town.pass_slots(3)
    town.devnet.fault(
        kind="hide", method="getSignaturesForAddress", slot=slot, times=1000
    )
    follow(engine, node)
    assert slot not in [at for at, _ in stored(engine)[0]]

    town.devnet.call("devnet_clearFaults")
    town.pass_slots(5)
    follow(engine, node)

    check(engine, town)


def test_logs_that_a_composer_cut_give_nothing_wrong(engine, node, town):
    key = AUTHOR.pubkey()
    entry = Entry((5, 6), note="n")
    people = [Keypair().pubkey() for _ in range(2)]
    calls = [
        ledger.spam(100, 200),
        ledger.mark(1, 2),
        ledger.emit(key, b"\1" * 32, entry, people),
        ledger.emit_by_call(key, b"\2" * 32, entry, people),
        ledger.record(key, b"\3" * 32, entry, people),
    ]
    town.devnet.post(town.devnet.sign(calls), skipPreflight=True)
    town.pass_slots(3)

    follow(engine, node)

    # What was given in instructions is all there; what was only logged is cut off.
    assert [amount for _, amount in stored(engine)[0]] == [11, 11]


def test_a_version_that_nobody_can_read_stops_the_chain(engine, node, town):
    town.act()
    town.pass_slots(3)
    town.devnet.fault(kind="error", code=-32015, method="getTransaction", times=0)

    with pytest.raises(Permanent, match="Install a newer release"):
        follow(engine, node)

    assert stored(engine) == ([], [])


def test_an_endpoint_of_another_cluster_is_never_used(engine, node, town):
    town.act(times=3)
    town.pass_slots(3)
    with SolanaNode(NodeOptions(slot_ms=0, seed=5)) as other:

        async def run():
            async with following(engine, [node.url, other.url]) as chain:
                town.devnet.fault(kind="limit", times=3)
                await catch_up(chain)
                return chain.source._client.verdicts()

        verdicts = asyncio.run(run())

    assert Health.WRONG_CHAIN in [health for health, _ in verdicts.values()]
    check(engine, town)


def test_a_replica_that_goes_back_is_not_believed(engine, node, town):
    town.act(times=3)
    town.pass_slots(60)

    async def run():
        async with following(engine, [node.url]) as chain:
            await catch_up(chain)
            town.act(times=2)
            town.pass_slots(3)
            town.devnet.fault(kind="stale", method="getSlot", lag=40, times=4)
            with pytest.raises(Late, match="as far as it was"):
                await chain.source.head()
            await catch_up(chain)

    asyncio.run(run())
    check(engine, town)


def test_a_node_that_tells_no_index_is_asked_for_blocks(engine, db_engine):
    with SolanaNode(
        NodeOptions(slot_ms=0, transaction_index=False, forgiving_cursors=True)
    ) as node:
        town = Town(Devnet(node.url))
        for _ in range(4):
            town.act(times=5)
            town.pass_slots(3)
        town.pass_slots(40)
        town.act(times=5)
        town.pass_slots(3)

        follow(engine, node)

        check(engine, town)


def test_small_pages_are_walked_over_whole_slots(engine, node, town, monkeypatch):
    monkeypatch.setattr(listing_module, "PAGE_MAX", 5)
    for _ in range(12):
        town.act(times=town.chance.choice([1, 3, 9]))
        town.pass_slots(town.chance.choice([1, 1, 30]))
    town.devnet.fault(kind="shuffle", times=1000)
    town.pass_slots(2)

    follow(engine, node)

    check(engine, town)


def test_several_workers_share_history_and_one_lists(engine, node, town):
    for _ in range(10):
        town.act(times=4)
        town.pass_slots(10)
    town.pass_slots(40)

    async def run():
        async with AsyncExitStack() as stack:
            chains = []
            for first in range(0, 120, 30):
                window = BlockRange(first, first + 29)
                opened = following(engine, [node.url], window=window)
                chains.append(await stack.enter_async_context(opened))
            await asyncio.gather(*map(catch_up, chains))

    asyncio.run(run())
    follow(engine, node)

    check(engine, town)


def test_history_in_many_ranges_is_written_in_bulk(engine, node, town):
    for _ in range(15):
        town.act(times=4)
        town.pass_slots(10, skip=town.chance.choice([0, 25]))
    town.pass_slots(40)

    outcomes = follow(engine, node, range_blocks=7, blocks_per_range=7)

    written = [each.written for each in outcomes if isinstance(each, Wrote)]
    assert max(each.blocks.blocks for each in written) > 50  # many ranges at once
    check(engine, town)


KILLED = """
import asyncio, os, sys
sys.path[:0] = ["tests", "."]
import indexer.solana.listing as listing
from sqlalchemy import create_engine
from helpers.solana_following import catch_up, following

listing.PAGE_MAX, listing.OVERLAP = 12, 4
left = int(sys.argv[3])
store = listing.stored.store

def store_and_die(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    store(*arguments)

listing.stored.store = store_and_die

async def run():
    async with following(create_engine(sys.argv[1]), [sys.argv[2]]) as chain:
        await catch_up(chain)

asyncio.run(run())
"""


def test_a_walk_goes_on_where_it_was_killed(engine, db_engine, node, town):
    for _ in range(30):
        town.act(times=4)
        town.pass_slots(3)
    url = db_engine.url.render_as_string(hide_password=False)
    reached = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, url, node.url, "3"], timeout=60, cwd=ROOT
        )
        assert done.returncode == -9
        with engine.connect() as connection:
            query = "SELECT count(*) FROM control.signature"
            reached.append(connection.execute(text(query)).scalar())

    assert reached == sorted(set(reached))  # each went on
    follow(engine, node)
    check(engine, town)


def test_a_walk_goes_on_among_more_lines_than_a_page_holds(
    engine, node, town, monkeypatch
):
    """A busy program has more in the slots that are looked at again."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)  # a page is a second
    monkeypatch.setattr(listing_module, "time", clock)
    monkeypatch.setattr(listing_module, "WALK_SECONDS", 5)
    monkeypatch.setattr(listing_module, "PAGE_MAX", 5)
    monkeypatch.setattr(listing_module, "OVERLAP", 3)
    for _ in range(10):
        town.act(times=3)
        town.pass_slots(1)
    town.pass_slots(40)

    follow(engine, node, steps=200)

    check(engine, town)


def test_nothing_is_read_while_a_backfill_lists(engine, node, town, monkeypatch):
    """It would be dropped and read again whenever the loop hears how far it is."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)  # a page is a second
    monkeypatch.setattr(listing_module, "time", clock)
    asked, read = [], Reader.transactions

    async def transactions(self, signatures):
        asked.extend(signatures)
        return await read(self, signatures)

    monkeypatch.setattr(Reader, "transactions", transactions)
    monkeypatch.setattr(listing_module, "WALK_SECONDS", 5)
    monkeypatch.setattr(listing_module, "PAGE_MAX", 5)
    monkeypatch.setattr(listing_module, "OVERLAP", 3)
    monkeypatch.setattr(backfill_module, "backoff", lambda failures: 0.0)
    for _ in range(15):
        town.act(times=3)
        town.pass_slots(2)
    town.pass_slots(40)

    # As where nothing was found so far: many ranges are read ahead.
    options = {"range_blocks": 7, "blocks_per_range": 7, "facts_per_block": 0.0}
    asyncio.run(run_backfill(lambda: following(engine, [node.url], **options)))

    check(engine, town)
    assert len(asked) == len(set(asked)) == len(town.sent)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_schedule_of_faults_and_forks_ends_as_the_chain_is(engine, seed):
    options = NodeOptions(
        slot_ms=0, seed=seed, confirmed_after=1, finalized_after=8,
        transaction_index=seed % 3 != 0,
    )  # fmt: skip
    with SolanaNode(options) as node:
        town = Town(Devnet(node.url), seed)
        chance = town.chance
        for _ in range(12):
            town.devnet.call("devnet_clearFaults")
            if chance.random() < 0.4:
                town.devnet.fork(chance.randint(1, 6))
                town.pass_slots(1)
            for _ in range(chance.randint(1, 4)):
                town.act(times=chance.randrange(4))
                town.pass_slots(chance.randint(1, 5), skip=chance.choice([0, 0, 2]))
            town.devnet.fault(seed=seed, share=0.25, lag=6)
            with suppress(AssertionError):  # it is far behind: later
                follow(engine, node, steps=20, range_blocks=chance.choice([3, 1000]))
        town.devnet.call("devnet_clearFaults")
        town.pass_slots(30)

        follow(engine, node)

        check(engine, town)


def test_what_an_idl_did_not_know_becomes_facts_when_it_does(engine, node, town):
    raw = json.loads((ROOT / "idl/ledger.json").read_text())
    without = {**raw, "events": [e for e in raw["events"] if e["name"] == "Marked"]}
    old = declare_program("growing", parse_idl(without))
    town.act(times=5)
    town.pass_slots(3)

    def read(events):
        registry = Registry.of([*events, Recorded], [Author])
        migrate(engine, registry)
        programs = [
            FollowedProgram(events[0].spec.source, {ADDRESS: 0}, events),
        ]
        follow(engine, node, registry=registry, programs=programs)
        with engine.connect() as connection:
            unknown = "SELECT count(*) FROM control.undecodable_log WHERE NOT kept"
            return connection.execute(text(unknown)).scalar()

    assert read(old) > 0
    new = declare_program("growing", parse_idl(raw))
    assert read(new) == 0
    with engine.connect() as connection:
        query = "SELECT amount FROM facts.growing_recorded ORDER BY position"
        amounts = [int(each) for each in connection.execute(text(query)).scalars()]
    assert amounts == [amount for _, amount in town.truth()[0]]


def test_several_addresses_are_followed_each_from_its_first_slot(engine):
    other = Keypair.from_seed(b"\7" * 32).pubkey()
    binary = {str(other): build.PACKAGE / "ledger.so"}
    with SolanaNode(NodeOptions(slot_ms=0, programs=binary)) as node:
        town = Town(Devnet(node.url))
        key, people = AUTHOR.pubkey(), [Keypair().pubkey()]

        def both(number):
            """One transaction in which both programs speak, one through the other."""
            identity = bytes([number]) * 32
            first = ledger.emit(key, identity, Entry((number,)), people)
            second = ledger.emit_by_call(
                key, identity, Entry((100 + number,)), people, program=other
            )
            calls = [first, ledger.relay(second), ledger.relay(first, program=other)]
            town.devnet.post(town.devnet.sign(calls), skipPreflight=True)

        both(1)
        late = town.pass_slots(30)
        both(2)
        town.pass_slots(5)
        both(3)
        town.pass_slots(3)
        addresses = {ADDRESS: 0, bytes(other): late}
        programs = [FollowedProgram(Recorded.spec.source, addresses, [Recorded])]

        follow(engine, node, programs=programs, range_blocks=10)

        amounts = [amount for _, amount in stored(engine)[0]]
        assert amounts == [1, 1, 2, 102, 2, 3, 103, 3]
        with engine.connect() as connection:
            assert problems(connection, REGISTRY) == []
            again = "SELECT count(*) FROM control.signature WHERE NOT written"
            assert connection.execute(text(again)).scalar() == 0


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_an_empty_page_in_the_middle_of_the_first_walk(
    engine, node, town, skip, monkeypatch
):
    monkeypatch.setattr(listing_module, "PAGE_MAX", 6)
    for times in (9, 1, 1, 6, 3):
        town.act(times=times)
        town.pass_slots(100)
    rule = {"kind": "empty", "method": "getSignaturesForAddress", "skip": skip}
    town.devnet.fault(**rule, times=1)

    follow(engine, node)

    check(engine, town)


def test_a_node_without_the_first_blocks_is_followed_all_the_same(engine, node, town):
    town.act(times=2)
    town.pass_slots(40)
    town.act(times=2)
    town.pass_slots(3)
    for method, match in (("getBlock", "[1, {"), ("getBlocks", "[0, 33")):
        town.devnet.fault(
            kind="error", code=-32001, method=method, match=match, times=0
        )

    follow(engine, node)

    town.devnet.call("devnet_clearFaults")
    check(engine, town)


def test_headers_tell_skipped_slots_from_unknown_ones(engine, node, town):
    town.pass_slots(3)
    kept = town.pass_slots(1, skip=4)
    town.pass_slots(3)

    async def run():
        async with following(engine, [node.url]) as chain:
            await chain.source.head()
            heights = (0, kept, kept - 1, kept + 1000)
            return [await chain.source.header(height) for height in heights]

    first, there, skipped, unknown = asyncio.run(run())

    assert first.exists
    assert there.exists
    assert there.time > 0
    assert not skipped.exists
    assert unknown is None
