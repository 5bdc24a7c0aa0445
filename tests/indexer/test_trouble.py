"""What becomes of the loop when something goes wrong: never silence, never a lie."""

import asyncio
import contextlib
import threading
import time

import pytest
from sqlalchemy import event, text

from db import sources
from db.diagnosis import Ailment, diagnose
from db.errors import LeaseLost, StaleDeclarations
from db.incidents import list_incidents
from db.leases import FollowerLease, RangeLease, acquire_follower_lease, lease_range
from db.position import BlockRange
from db.schema import migrate
from db.status import chain_status
from helpers.business import REGISTRY, open_business, play
from helpers.following import catch_up, check
from helpers.rpc import FakeEvmChain, FakeRpcServer
from indexer.follow import follow, step
from indexer.planning import plan_range
from indexer.reorg import FinalityViolated
from indexer.streams import events_of
from indexer.writer import write_batch


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def state_of(engine):
    with engine.connect() as connection:
        row = sources.find(connection, "fake")
    return row.state, row.cause


async def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def following(chain, **options):
    """The loop as a task for the length of the block."""
    stop = asyncio.Event()
    loop = asyncio.create_task(follow(chain, stop, poll_seconds=0.01, **options))
    try:
        yield loop
    finally:
        stop.set()
        await asyncio.wait([loop])
    loop.result()


def test_blocks_are_told_in_one_line_an_interval_and_not_one_each(engine, caplog):
    caplog.set_level("INFO")
    fake = FakeEvmChain()
    fake.mine_many(5)

    async def go(url):
        async with open_business(engine, url) as chain, following(chain):
            await until(lambda: state_of(engine)[0] == "following")
            for _ in range(20):
                fake.mine()
                await until(lambda: written(engine) == fake.head)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    lines = [r.getMessage() for r in caplog.records if "written" in r.getMessage()]
    assert len(lines) == 1, lines
    assert "blocks_written chain=fake blocks=6 " in lines[0]


def written(engine):
    with engine.connect() as connection:
        return connection.scalar(text("SELECT max(height) FROM control.block"))


def test_two_that_write_the_same_blocks_at_once_both_go_on(engine):
    """Nothing of a range is covered when both look; one must try again."""
    fake = FakeEvmChain()
    play(fake, 20, seed=61)
    met = []

    async def go(url):
        async with open_business(engine, url) as chain, open_business(engine, url) as b:
            planned = plan_range(b, fake.head)
            batch = await b.source.fetch(planned[0], events_of(planned[1]))

            def interfere(connection, cursor, statement, parameters, context, many):
                if "SELECT event FROM control.coverage" in statement and not met:
                    met.append(True)
                    write_batch(engine, REGISTRY, b.id, batch, planned[1])

            event.listen(engine, "after_cursor_execute", interfere)
            try:
                async with following(chain):
                    await until(lambda: chain.caught_up)
            finally:
                event.remove(engine, "after_cursor_execute", interfere)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    assert met
    check(engine, fake)


def test_a_database_that_refuses_to_write_is_named_and_waited_for(engine):
    """As when its disk is full, or it is a replica now."""
    fake = FakeEvmChain()
    play(fake, 10, seed=62)
    refuse = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN
            RAISE EXCEPTION SQLSTATE ''53100'' USING MESSAGE = ''disk is full'';
        END';
        CREATE TRIGGER refuse BEFORE INSERT ON control.block
        EXECUTE FUNCTION refuse();
    """

    async def go(url):
        async with open_business(engine, url) as chain:
            with engine.begin() as connection:
                connection.execute(text(refuse))
            async with following(chain, stall_seconds=0.0):
                await until(lambda: state_of(engine)[0] == "stalled")
                assert "disk is full" in state_of(engine)[1]
                with engine.begin() as connection:
                    connection.execute(text("DROP TRIGGER refuse ON control.block"))
                await until(lambda: chain.caught_up)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_a_disk_on_which_nothing_can_be_written_is_told_all_the_same(engine):
    """Not even that it is full: a lock says so, until there is room again."""
    fake = FakeEvmChain()
    play(fake, 10, seed=64)
    refuse = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN
            RAISE EXCEPTION SQLSTATE ''53100'' USING MESSAGE = ''disk is full'';
        END';
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON control.source
        EXECUTE FUNCTION refuse();
    """

    def told(source):
        with engine.connect() as connection:
            return diagnose(chain_status(connection, source)).ailment

    async def go(url):
        async with open_business(engine, url) as chain:
            chain.guard = acquire_follower_lease(engine, chain.id).guard
            with engine.begin() as connection:
                connection.execute(text(refuse))
            async with following(chain):
                await until(lambda: told(chain.id) is Ailment.DISK_FULL)
                with engine.begin() as connection:  # the session that tells is lost
                    connection.execute(text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks"
                        " WHERE locktype = 'advisory' AND objid = :id"
                    ), {"id": chain.id})  # fmt: skip
                await until(lambda: told(chain.id) is Ailment.DISK_FULL)
                with engine.begin() as connection:
                    connection.execute(text("DROP TRIGGER refuse ON control.source"))
                await until(lambda: told(chain.id) is Ailment.NONE)
            assert chain.full_disk is None

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_an_error_nobody_thought_of_stops_the_chain_and_is_told(engine):
    fake = FakeEvmChain()
    play(fake, 10, seed=63)

    async def go(url):
        async with open_business(engine, url) as chain:

            async def broken(*_, **__):
                raise KeyError("surprise")

            chain.source.fetch = broken
            await follow(chain, asyncio.Event(), poll_seconds=0.01)

    with FakeRpcServer(fake) as node, pytest.raises(KeyError):
        asyncio.run(go(node.url))

    state, cause = state_of(engine)
    assert state == "stopped"
    assert "KeyError" in cause
    assert "surprise" in cause


def test_one_that_lost_its_place_does_not_speak_for_the_chain(engine):
    fake = FakeEvmChain()
    play(fake, 10, seed=64)

    async def go(url):
        async with open_business(engine, url) as chain:
            first = acquire_follower_lease(engine, chain.id)
            assert isinstance(first, FollowerLease)
            chain.guard = first.guard
            with engine.begin() as connection:
                connection.execute(
                    text("UPDATE control.follower SET seen_at = now() - interval '1h'")
                )
            assert isinstance(acquire_follower_lease(engine, chain.id), FollowerLease)
            with engine.begin() as connection:
                sources.set_state(connection, chain.id, "following", "")
            await follow(chain, asyncio.Event(), poll_seconds=0.01)

    with FakeRpcServer(fake) as node, pytest.raises(LeaseLost):
        asyncio.run(go(node.url))

    assert state_of(engine) == ("following", "")


def test_other_declarations_stop_the_chain(engine):
    fake = FakeEvmChain()
    play(fake, 10, seed=65)

    async def go(url):
        async with open_business(engine, url) as chain:
            with engine.begin() as connection:
                connection.execute(
                    text("UPDATE control.declaration SET fingerprint=''")
                )
            await follow(chain, asyncio.Event(), poll_seconds=0.01)

    with FakeRpcServer(fake) as node, pytest.raises(StaleDeclarations):
        asyncio.run(go(node.url))

    assert state_of(engine)[0] == "stopped"
    assert "chainfold migrate" in state_of(engine)[1]


def test_a_stop_that_cannot_be_recorded_is_no_stop(engine):
    """The loop is to be opened again, and to come to the same verdict."""
    fake = FakeEvmChain()
    play(fake, 10, seed=66)
    cut = threading.Event()

    def interfere(connection, cursor, statement, parameters, context, many):
        if cut.is_set() and "UPDATE control.source SET state" in statement:
            cut.clear()
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async def go(url):
        async with open_business(engine, url) as chain:
            await catch_up(chain)
            fake.reorg(3)
            cut.set()
            event.listen(engine, "before_cursor_execute", interfere)
            try:
                await follow(chain, asyncio.Event(), poll_seconds=0.01)
            except Exception as error:
                first = error
            finally:
                event.remove(engine, "before_cursor_execute", interfere)
            with pytest.raises(FinalityViolated):
                await follow(chain, asyncio.Event(), poll_seconds=0.01)
            return first

    with FakeRpcServer(fake) as node:
        first = asyncio.run(go(node.url))

    assert not isinstance(first, FinalityViolated)
    assert state_of(engine)[0] == "stopped"
    with engine.connect() as connection:
        assert len(list_incidents(connection, source=1)) == 1


def test_a_place_is_not_lost_in_a_long_write(engine):
    """The second waits for the row that the write holds, and finds it fresh."""
    fake = FakeEvmChain()
    play(fake, 10, seed=67)
    taken = []

    async def go(url):
        async with open_business(engine, url) as chain:
            place = acquire_follower_lease(engine, chain.id)
            chain.guard = place.guard
            planned = plan_range(chain, fake.head)
            batch = await chain.source.fetch(planned[0], events_of(planned[1]))
            threads = []

            def slow(connection, cursor, statement, parameters, context, many):
                if "SELECT event FROM control.coverage" in statement:
                    # As if 40 s had gone by since the guard looked.
                    cursor.execute(
                        "UPDATE control.follower SET seen_at = now() - interval '40 s'"
                    )
                    threads.append(
                        threading.Thread(
                            target=lambda: taken.append(
                                acquire_follower_lease(engine, chain.id)
                            )
                        )
                    )
                    threads[0].start()
                    time.sleep(0.3)
                    assert not taken

            event.listen(engine, "before_cursor_execute", slow)
            try:
                write_batch(engine, REGISTRY, chain.id, batch, planned[1], chain.guard)
            finally:
                event.remove(engine, "before_cursor_execute", slow)
            threads[0].join()
            await step(chain)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    assert isinstance(taken[0], str)
    check(engine, fake)


def test_a_lease_is_not_lost_in_a_long_write(engine):
    with engine.begin() as connection:
        source = sources.register(
            connection, name="fake", chain_id="eip155:1", ordinals="rank"
        ).id
    lease = lease_range(engine, source, BlockRange(0, 9))
    assert isinstance(lease, RangeLease)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE control.lease SET expires_at = now() - interval '1 s'")
        )
    found = []
    with engine.begin() as connection:
        lease.guard(connection)
        other = threading.Thread(
            target=lambda: found.append(lease_range(engine, source, BlockRange(5, 6)))
        )
        other.start()
        time.sleep(0.3)
        assert not found
    other.join()

    assert found == [None]
