"""The loop over a real endpoint and a real Postgres, when the world misbehaves."""

import asyncio
import threading

import pytest
from sqlalchemy import text

from db import sources
from db.blocks import tip
from db.errors import LeaseLost
from db.incidents import list_incidents
from db.leases import FollowerLease, acquire_follower_lease
from db.position import BlockRange
from db.schema import migrate
from db.status import chain_status
from helpers import reference
from helpers.business import (
    FACTORY,
    REGISTRY,
    TOKEN,
    Moved,
    facts_of,
    open_business,
    play,
)
from helpers.following import catch_up, check
from helpers.rpc import (
    EDGE,
    FakeEvmChain,
    FakeLog,
    FakeRpcServer,
    FakeTx,
    Faults,
    log_for,
)
from helpers.tables import live_rows, problems
from indexer.errors import Permanent
from indexer.evm.finality import Depth
from indexer.follow import Behind, CaughtUp, Reorged, Wrote, follow, step
from indexer.reorg import FinalityViolated


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_chain_is_read_up_to_its_head_and_then_followed(engine):
    fake = FakeEvmChain()
    play(fake, 60, seed=1)

    async def go(url):
        async with open_business(engine, url, blocks_per_range=7) as chain:
            first = await catch_up(chain)
            play(fake, 5, seed=2)
            second = await catch_up(chain)
            return first, second

    with FakeRpcServer(fake) as node:
        first, second = run(go(node.url))

    assert len([o for o in first if isinstance(o, Wrote)]) > 1
    assert [type(o) for o in second] == [Wrote, CaughtUp]
    check(engine, fake)


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_an_old_edge_node_with_every_fault_gives_the_same_tables(engine, mode):
    fake = FakeEvmChain()
    play(fake, 80, seed=3)

    async def go(url):
        async with open_business(engine, url, mode=mode, blocks_per_range=9) as chain:
            await catch_up(chain)

    with FakeRpcServer(fake, **EDGE, faults=Faults(seed=5, share=0.3)) as node:
        if mode == "filtered":
            node.log_index_per_transaction = False
        run(go(node.url))
        assert sum(node.faulted.values()) > 3

    if mode == "all":
        check(engine, fake)
    with engine.connect() as connection:
        assert problems(connection, REGISTRY) == []
        count = connection.execute(text("SELECT count(*) FROM facts.business_paid"))
        expected = [f for f in facts_of(fake) if f.event.spec.name == "Paid"]
        assert count.scalar() == len(expected)


def test_a_reorg_below_finality_is_undone_exactly(engine):
    fake = FakeEvmChain()
    play(fake, 40, seed=4)

    async def go(url):
        async with open_business(
            engine, url, finality=Depth(30), blocks_per_range=8
        ) as chain:
            await catch_up(chain)
            fake.truncate(fake.head - 6)
            play(fake, 9, seed=99)
            return await catch_up(chain)

    with FakeRpcServer(fake) as node:
        outcomes = run(go(node.url))

    reorgs = [o for o in outcomes if isinstance(o, Reorged)]
    assert [o.height for o in reorgs] == [35]
    check(engine, fake)


def test_a_reorg_that_shortens_the_chain_is_seen_at_its_head(engine):
    fake = FakeEvmChain()
    play(fake, 40, seed=5)

    async def go(url):
        async with open_business(engine, url, finality=Depth(30)) as chain:
            await catch_up(chain)
            fake.truncate(fake.head - 10)
            play(fake, 4, seed=98)
            # Another process, which has not seen the higher head.
            async with open_business(engine, url, finality=Depth(30)) as other:
                return await catch_up(other)

    with FakeRpcServer(fake) as node:
        outcomes = run(go(node.url))

    assert isinstance(outcomes[0], Reorged)
    assert outcomes[0].height == 31
    check(engine, fake)


def test_children_of_a_fork_that_was_undone_are_forgotten(engine):
    fake = FakeEvmChain()
    play(fake, 20, seed=6)

    async def go(url):
        async with open_business(engine, url, finality=Depth(30)) as chain:
            await catch_up(chain)
            fake.truncate(2)
            play(fake, 25, seed=97)
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    check(engine, fake)
    with engine.connect() as connection:
        known = {address for _, address, _ in sources.children(connection, 1)}
    expected = {f.values["deal"] for f in facts_of(fake) if "title" in f.values}
    assert known == expected


def test_a_changed_final_block_stops_the_chain_and_changes_nothing(engine):
    fake = FakeEvmChain()
    play(fake, 30, seed=7)
    before = []

    async def go(url):
        async with open_business(engine, url) as chain:
            await catch_up(chain)
            before.extend(facts_of(fake))
            fake.reorg(5)
            play(fake, 2, seed=96)
            await follow(chain, asyncio.Event(), poll_seconds=0.01)

    with FakeRpcServer(fake) as node, pytest.raises(FinalityViolated) as error:
        run(go(node.url))

    assert "chainfold rewind fake" in str(error.value)
    with engine.connect() as connection:
        row = sources.find(connection, "fake")
        assert (row.state, len(list_incidents(connection, source=row.id))) == (
            "stopped",
            1,
        )
        for projection in REGISTRY.projections.values():
            expected = reference.fold(projection, before)
            assert live_rows(connection, projection, row.id) == expected


def test_another_genesis_stops_the_chain_before_anything_is_read(engine):
    fake, other = FakeEvmChain(), FakeEvmChain()
    other.reorg(1)
    play(fake, 10, seed=8)
    play(other, 30, seed=9)

    async def go(url):
        async with open_business(engine, url) as chain:
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))
    with FakeRpcServer(other) as node, pytest.raises(Permanent, match="another chain"):
        run(go(node.url))

    check(engine, fake)


def test_logs_that_are_not_what_the_abi_says_are_kept_raw_and_stop_nothing(engine):
    """Another contract at the address, or another version of it."""
    fake = FakeEvmChain()
    play(fake, 20, seed=17)
    good = facts_of(fake)
    topic = log_for(Moved, TOKEN, **{"from": FACTORY, "to": TOKEN}, value=1).topics
    odd = [
        FakeLog(TOKEN, topic, b"\x01"),  # too short
        FakeLog(TOKEN, [*topic, topic[1]], b""),  # indexed otherwise: an ERC-721
        FakeLog(TOKEN, [topic[0], b"\xff" * 32, topic[2]], bytes(32)),  # mended
    ]
    fake.mine(FakeTx(logs=odd))
    play(fake, 5, seed=18)

    async def go(url):
        async with open_business(engine, url) as chain:
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT data, reason FROM control.undecodable_log ORDER BY position")
        ).all()
        assert [bytes(row.data) for row in rows] == [log.data for log in odd]
        assert all(row.reason for row in rows)
        found = chain_status(connection, 1)
        assert (found.undecodable, found.mended) == (2, 1)
        moved = connection.scalar(text("SELECT count(*) FROM facts.business_moved"))
        assert moved >= len([f for f in good if f.event is Moved])
        assert problems(connection, REGISTRY) == []


def test_transactions_of_watched_senders_are_kept_with_their_fate(engine):
    fake = FakeEvmChain()
    ours = b"\x0a" * 20
    fake.mine(FakeTx(sender=ours, nonce=0), FakeTx(nonce=7))
    fake.mine(FakeTx(sender=ours, nonce=1, reverted=b"\x08\xc3\x79\xa0"))

    async def go(url):
        async with open_business(engine, url, watch_senders={ours}) as chain:
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT nonce, succeeded, revert_data FROM control.sender_transaction"
                " ORDER BY position"
            )
        ).all()
    assert [(int(r.nonce), r.succeeded) for r in rows] == [(0, True), (1, False)]
    assert bytes(rows[1].revert_data) == b"\x08\xc3\x79\xa0"


def test_a_node_that_falls_back_is_waited_for(engine):
    """A syncing node looks like a deep reorg to other indexers."""
    fake = FakeEvmChain()
    play(fake, 50, seed=10)

    async def go(url):
        async with open_business(engine, url, finality=Depth(5)) as chain:
            await catch_up(chain)
            kept = fake.truncate(10)
            async with open_business(engine, url, finality=Depth(5)) as other:
                behind = await step(other)
            fake.restore(kept)
            play(fake, 3, seed=11)
            return behind, await catch_up(chain)

    with FakeRpcServer(fake) as node:
        behind, outcomes = run(go(node.url))

    assert isinstance(behind, Behind)
    assert (behind.head.height, behind.written) == (10, 50)
    assert not [o for o in outcomes if isinstance(o, Reorged)]
    check(engine, fake)


def test_history_read_backwards_knows_the_children_of_earlier_blocks(engine):
    fake = FakeEvmChain()
    play(fake, 60, seed=12)

    async def go(url):
        for window in (BlockRange(40, 60), BlockRange(15, 39), BlockRange(0, 14)):
            async with open_business(
                engine, url, window=window, blocks_per_range=6
            ) as chain:
                await catch_up(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    check(engine, fake)


def test_an_address_added_later_is_read_from_its_first_block_alone(engine):
    fake = FakeEvmChain()
    play(fake, 40, seed=13)
    only_deals = {"DealFactory": {b"\xfa" * 20: 0}}

    async def go(url):
        async with open_business(engine, url, addresses=only_deals) as chain:
            await catch_up(chain)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM purses")) == 0
        async with open_business(engine, url) as chain:
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    check(engine, fake)


def test_the_second_follower_is_told_who_is_first(engine):
    with engine.begin() as connection:
        row = sources.register(
            connection, name="fake", chain_id="eip155:1", ordinals="rank"
        )
    first = acquire_follower_lease(engine, row.id)

    answer = acquire_follower_lease(engine, row.id)

    assert isinstance(first, FollowerLease)
    assert isinstance(answer, str)
    assert ", since 20" in answer
    first.release(engine)
    assert isinstance(acquire_follower_lease(engine, row.id), FollowerLease)


def test_a_follower_that_slept_and_was_replaced_cannot_write(engine):
    fake = FakeEvmChain()
    play(fake, 10, seed=14)

    async def go(url):
        async with open_business(engine, url) as chain:
            first = acquire_follower_lease(engine, chain.id)
            chain.guard = first.guard
            with engine.begin() as connection:
                connection.execute(
                    text("UPDATE control.follower SET seen_at = now() - interval '1h'")
                )
            assert isinstance(acquire_follower_lease(engine, chain.id), FollowerLease)
            with pytest.raises(LeaseLost):
                await step(chain)

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    with engine.connect() as connection:
        assert tip(connection, 1).height == 1  # from the genesis check


def test_a_database_that_goes_away_again_and_again_loses_nothing(engine):
    """Our connections are cut at random moments, in the middle of transactions."""
    fake = FakeEvmChain()
    play(fake, 120, seed=15)
    stop, done = asyncio.Event(), threading.Event()

    def cut():
        while not done.wait(0.03):
            with engine.connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database()"
                    )
                )

    async def go(url):
        async with open_business(engine, url, blocks_per_range=5) as chain:
            threading.Thread(target=cut, daemon=True).start()
            loop = asyncio.create_task(follow(chain, stop, poll_seconds=0.01))
            await asyncio.sleep(1.5)
            done.set()
            while not chain.caught_up:
                await asyncio.sleep(0.02)
            stop.set()
            await loop

    with FakeRpcServer(fake) as node:
        run(go(node.url))

    check(engine, fake)


def test_trouble_is_told_in_one_word_with_its_cause(engine):
    fake = FakeEvmChain()
    play(fake, 5, seed=16)

    async def go(node):
        async with open_business(engine, node.url) as chain:
            await catch_up(chain)
            node.down = True
            stop = asyncio.Event()
            loop = asyncio.create_task(
                follow(chain, stop, poll_seconds=0.01, stall_seconds=0.0)
            )
            for _ in range(500):
                await asyncio.sleep(0.02)
                with engine.connect() as connection:
                    row = sources.find(connection, "fake")
                if row.state == "stalled":
                    break
            stop.set()
            await loop
            return row

    with FakeRpcServer(fake) as node:
        row = run(go(node))

    assert row.state == "stalled"
    assert "127.0.0.1" in row.cause
