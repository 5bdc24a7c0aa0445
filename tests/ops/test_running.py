"""The process that follows: places, indexes made beside the loop, a quick end."""

import asyncio
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db import schema, sources
from db.incidents import list_incidents, resolve
from db.leases import FollowerLease, acquire_follower_lease, lease_range
from db.position import BlockRange
from db.processes import process_name
from db.schema import ensure_key_indexes, migrate
from helpers.business import REGISTRY, open_business, play
from helpers.following import catch_up as read_all
from helpers.following import check
from helpers.rpc import FakeEvmChain, FakeRpcServer
from indexer.evm.finality import Depth
from indexer.reorg import FinalityViolated
from ops import reacting, running
from ops.errors import OperationError

CHAIN = SimpleNamespace(
    name="fake", namespace="eip155", poll_seconds=0.02, stall_seconds=30.0,
    audit_blocks=0,
)  # fmt: skip


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


@pytest.fixture
def node(engine, monkeypatch):
    fake = FakeEvmChain()
    play(fake, 20, seed=71)
    with FakeRpcServer(fake) as node:
        opener = lambda *_: open_business(engine, node.url, finality=Depth(5))  # noqa: E731
        monkeypatch.setattr(running, "open_chain", opener)
        yield node


def follow(engine, stop, **options):
    return running.follow_chains(None, [CHAIN], engine, REGISTRY, stop=stop, **options)


async def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def trouble(engine):
    with engine.connect() as connection:
        return connection.scalar(text("SELECT trouble FROM control.source"))


def state(engine):
    with engine.connect() as connection:
        row = sources.find(connection, "fake")
    return row and row.state


def indexes(engine):
    with engine.connect() as connection:
        return connection.scalar(
            text(
                "SELECT count(*) FROM pg_index i"
                " JOIN pg_class c ON c.oid = i.indexrelid"
                " WHERE c.relnamespace = 'facts'::regnamespace AND i.indisvalid"
                " AND NOT i.indisprimary"
            )
        )


def test_one_whose_place_was_taken_waits_until_it_is_free(engine, node):
    async def go():
        stop = asyncio.Event()
        loop = asyncio.create_task(follow(engine, stop))
        await until(lambda: state(engine) == "following")
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE control.follower SET seen_at = now() - interval '1h'")
            )
        other = await asyncio.to_thread(acquire_follower_lease, engine, 1)
        assert isinstance(other, FollowerLease)
        play(node.chain, 5, seed=72)
        await asyncio.sleep(0.3)
        assert not loop.done()
        await asyncio.to_thread(other.release, engine)
        play(node.chain, 5, seed=73)
        await until(lambda: reached(engine) == node.chain.head)
        stop.set()
        return await loop

    assert asyncio.run(go()) == 0
    check(engine, node.chain)


def reached(engine):
    with engine.connect() as connection:
        return connection.scalar(text("SELECT max(height) FROM control.block"))


def test_a_place_is_kept_while_a_step_takes_long(engine, node, monkeypatch):
    monkeypatch.setattr(running, "FOLLOWER_SECONDS", 0.3)

    def seen():
        with engine.connect() as connection:
            return connection.scalar(text("SELECT seen_at FROM control.follower"))

    async def go():
        stop = asyncio.Event()
        loop = asyncio.create_task(follow(engine, stop))
        await until(lambda: state(engine) == "following")
        node.hang_seconds = 4.0
        node.faults = SimpleNamespace(next=lambda body: "hang")
        asked = node.requests
        await until(lambda: node.requests > asked)
        before = seen()
        await until(lambda: seen() > before, node.hang_seconds - 0.5)
        await until(lambda: trouble(engine) == "endpoint_down", 3)
        node.faults = None
        stop.set()
        return await loop

    assert asyncio.run(go()) == 0


def test_reading_once_waits_for_a_node_that_fell_back(engine, node):
    async def go():
        await running.catch_up(None, CHAIN, engine, REGISTRY)
        kept = node.chain.truncate(10)
        before = node.requests
        once = asyncio.create_task(running.catch_up(None, CHAIN, engine, REGISTRY))
        await asyncio.sleep(0.5)
        asked = node.requests - before
        node.chain.restore(kept)
        await once
        return asked

    assert asyncio.run(go()) < 60
    check(engine, node.chain)


def test_reading_once_says_what_is_left_to_other_workers(engine, node):
    async def go():
        async with open_business(engine, node.url) as chain:
            lease = lease_range(engine, chain.id, BlockRange(5, 9))
        left = await running.catch_up(None, CHAIN, engine, REGISTRY)
        lease.release(engine)
        return left, await running.catch_up(None, CHAIN, engine, REGISTRY)

    assert asyncio.run(go()) == (5, None)
    check(engine, node.chain)


def test_reading_once_takes_over_from_a_worker_that_was_killed(engine, node):
    async def go():
        async with open_business(engine, node.url) as chain:
            lease_range(engine, chain.id, BlockRange(5, 9))
        with engine.begin() as connection:
            dead = process_name().rpartition("/")[0] + "/1"  # another one's pid now
            connection.execute(
                text("UPDATE control.lease SET process = :p"), {"p": dead}
            )
        return await running.catch_up(None, CHAIN, engine, REGISTRY)

    assert asyncio.run(go()) is None
    check(engine, node.chain)


def test_indexes_are_not_made_while_blocks_are_left_to_other_workers(engine, node):
    async def go():
        stop = asyncio.Event()
        async with open_business(engine, node.url) as chain:
            lease = lease_range(engine, chain.id, BlockRange(5, 9))
        loop = asyncio.create_task(follow(engine, stop))
        await until(lambda: reached(engine) == node.chain.head)
        await asyncio.sleep(1.0)
        before = indexes(engine), state(engine)
        lease.release(engine)
        await until(lambda: state(engine) == "following" and indexes(engine))
        stop.set()
        await loop
        return before

    assert asyncio.run(go()) == (0, "reading")
    check(engine, node.chain)


def test_reading_once_records_that_a_final_block_changed(engine, node):
    async def go():
        await running.catch_up(None, CHAIN, engine, REGISTRY)
        node.chain.reorg(10, 12)
        await running.catch_up(None, CHAIN, engine, REGISTRY)

    with pytest.raises(FinalityViolated):
        asyncio.run(go())

    assert state(engine) == "stopped"


def test_reading_once_clears_a_stop_that_is_over(engine, node):
    asyncio.run(running.catch_up(None, CHAIN, engine, REGISTRY))
    with engine.begin() as connection:
        sources.set_state(connection, 1, "stopped", "run `chainfold migrate`")

    asyncio.run(running.catch_up(None, CHAIN, engine, REGISTRY))

    assert state(engine) == "following"
    with engine.connect() as connection:
        assert sources.find(connection, "fake").cause == ""


def open_incidents(engine):
    with engine.connect() as connection:
        return [each.id for each in list_incidents(connection)]


def settle(engine, number, reason="a node lied"):
    with engine.begin() as connection:
        resolve(connection, number, by="a person", reason=reason)


def test_a_chain_is_followed_again_when_its_incident_is_resolved(
    engine, node, monkeypatch
):
    """If its cause is gone; else it is stopped again, with a new incident."""
    monkeypatch.setattr(running, "RELEASED_SECONDS", 0.05)

    async def go():
        stop = asyncio.Event()
        loop = asyncio.create_task(follow(engine, stop, again=True))
        await until(lambda: state(engine) == "following")
        written = list(node.chain.blocks)
        node.chain.reorg(10, 12)
        await until(lambda: state(engine) == "stopped")
        (first,) = open_incidents(engine)
        await asyncio.sleep(0.3)
        assert (state(engine), open_incidents(engine)) == ("stopped", [first])
        settle(engine, first, "none was found")
        await until(lambda: open_incidents(engine) not in ([], [first]))
        (second,) = open_incidents(engine)
        assert state(engine) == "stopped"
        node.chain.blocks[:] = written
        play(node.chain, 5, seed=74)
        settle(engine, second)
        await until(lambda: reached(engine) == node.chain.head)
        await until(lambda: state(engine) in ("reading", "following"))
        stop.set()
        return await loop

    assert asyncio.run(go()) == 0
    check(engine, node.chain)


def test_a_chain_of_another_id_is_given_up_though_nobody_stopped_it(engine, node):
    asyncio.run(running.catch_up(None, CHAIN, engine, REGISTRY))
    with engine.begin() as connection:
        connection.execute(text("UPDATE control.source SET chain_id = 'eip155:9'"))

    assert asyncio.run(follow(engine, asyncio.Event(), again=True)) == 1


def test_a_forgotten_transaction_of_a_reader_does_not_keep_the_process_alive(
    engine, node
):
    """Indexes are made concurrently, which waits for every old transaction."""

    async def go():
        stop = asyncio.Event()
        loop = asyncio.create_task(follow(engine, stop))
        await until(lambda: making(engine))
        stop.set()
        return await loop

    with engine.connect().execution_options(
        isolation_level="REPEATABLE READ"
    ) as reader:
        reader.execute(text("SELECT count(*) FROM control.coverage"))
        started = time.monotonic()
        assert asyncio.run(go()) == 0
        assert time.monotonic() - started < 15
    assert ensure_key_indexes(engine, REGISTRY)
    assert ensure_key_indexes(engine, REGISTRY) == []


def making(engine):
    with engine.connect() as connection:
        return connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'"
                " AND state = 'active' AND wait_event_type = 'Lock'"
            )
        )


def test_waiting_for_a_forgotten_transaction_ends(engine, node, monkeypatch):
    monkeypatch.setattr(schema, "INDEXING_PATIENCE_SECONDS", 1)
    with engine.connect().execution_options(
        isolation_level="REPEATABLE READ"
    ) as reader:
        reader.execute(text("SELECT count(*) FROM control.coverage"))
        with pytest.raises(OperationalError, match="lock timeout"):
            ensure_key_indexes(engine, REGISTRY)

    assert ensure_key_indexes(engine, REGISTRY)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW lock_timeout")) == "0"


def test_many_that_make_indexes_at_once_do_not_meet(engine, node):
    """As two chains in one process do when both have caught up."""
    asyncio.run(running.catch_up(None, CHAIN, engine, REGISTRY))
    made, failed = [], []

    def work():
        try:
            made.extend(ensure_key_indexes(engine, REGISTRY))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert len(made) == len(set(made)) == indexes(engine) > 0


def test_a_place_that_is_taken_is_refused_when_told_not_to_wait(engine, node):
    async def go():
        async with open_business(engine, node.url) as chain:
            await read_all(chain)
            assert isinstance(acquire_follower_lease(engine, chain.id), FollowerLease)
        with pytest.raises(OperationError):
            await partial(running.catch_up, None, CHAIN, engine, REGISTRY)()

    asyncio.run(go())


@pytest.mark.parametrize(
    "fail",
    [
        OperationalError("react", None, Exception("the database is away")),
        AssertionError("a fault in a reaction"),
    ],
)
def test_reactions_end_when_told_and_not_before(db_engine, monkeypatch, fail):
    """A cancellation may be lost where the awaited thing is done already."""
    runs = []
    chain = SimpleNamespace(
        name="fake", id=1, engine=db_engine,
        registry=SimpleNamespace(reactions={"some": object()}, dues={}),
    )  # fmt: skip

    def run(_):
        runs.append(1)
        raise fail

    async def play_it():
        stop = asyncio.Event()
        task = asyncio.create_task(reacting.react(chain, stop))
        while len(runs) < 2 and not task.done():
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(task, 5)

    monkeypatch.setattr(reacting, "run_reactions", run)
    monkeypatch.setattr(reacting, "REACT_SECONDS", 0.01)
    asyncio.run(play_it())


def test_reactions_are_woken_by_what_concerns_them(db_engine, monkeypatch):
    """Final blocks of their chain and entries wake them, nothing else does."""
    runs = {0: [], 7: []}
    registry = SimpleNamespace(reactions={"some": object()}, dues={})

    def notify(payload):
        with db_engine.begin() as connection:
            connection.execute(
                text("SELECT pg_notify('chainfold', :it)"), {"it": payload}
            )

    async def play_it():
        stop = asyncio.Event()
        tasks = [
            asyncio.create_task(reacting.react(
                SimpleNamespace(name="x", id=id_, engine=db_engine, registry=registry),
                stop,
            ))
            for id_ in runs
        ]  # fmt: skip
        await asyncio.sleep(1.5)  # they listen, and have looked once
        for payload, woken in (
            ("7:final:12", [7]), ("7:3:12", []), ("0:44:44", [0]), ("77:final:12", []),
            ("8:final:3", []),
        ):  # fmt: skip
            before = {id_: len(found) for id_, found in runs.items()}
            notify(payload)
            await asyncio.sleep(0.7)
            assert [i for i, n in before.items() if len(runs[i]) > n] == woken, payload
        stop.set()
        await asyncio.gather(*tasks)

    monkeypatch.setattr(reacting, "run_reactions", lambda of: runs[of.id].append(1))
    monkeypatch.setattr(reacting, "REACT_SECONDS", 600)
    asyncio.run(play_it())
