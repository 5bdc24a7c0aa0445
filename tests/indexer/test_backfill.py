"""Backfills with real processes, some of which die."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import event, text

from db import sources
from db.blocks import tip
from db.leases import lease_range, leased
from db.position import BlockRange
from db.schema import migrate
from helpers import reference
from helpers.business import (
    REGISTRY,
    facts_of,
    open_business,
    play,
    reopen_business,
)
from helpers.processes import descendants
from helpers.rpc import FakeEvmChain, FakeRpcServer
from helpers.tables import live_rows, problems
from indexer.backfill import missing_ranges, run_backfill, run_range, split
from indexer.errors import Permanent
from indexer.evm.finality import Depth
from indexer.follow import CaughtUp, Leased, Wrote, step

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def check(engine, fake, source=1):
    facts = facts_of(fake)
    with engine.connect() as connection:
        for projection in REGISTRY.projections.values():
            expected = reference.fold(projection, facts)
            assert live_rows(connection, projection, source) == expected
        assert problems(connection, REGISTRY) == []


def opener(database_url, node):
    return partial(reopen_business, database_url, node.url)


def test_two_workers_give_the_tables_of_one(engine, database_url):
    fake = FakeEvmChain()
    play(fake, 150, seed=21)
    seen = []

    with FakeRpcServer(fake) as node:
        done = asyncio.run(
            run_backfill(opener(database_url, node), workers=2, report=seen.append)
        )

    assert (done.missing_blocks, done.done_blocks) == (151, 151)
    assert done.facts == len(facts_of(fake))
    assert seen[-1].eta_seconds == 0
    check(engine, fake)


def test_what_is_written_is_not_asked_for_again(engine, database_url):
    fake = FakeEvmChain()
    play(fake, 40, seed=22)

    with FakeRpcServer(fake) as node:
        asyncio.run(run_backfill(opener(database_url, node)))
        before = node.calls["eth_getLogs"]
        done = asyncio.run(run_backfill(opener(database_url, node)))
        assert node.calls["eth_getLogs"] == before

    assert done.missing_blocks == 0


def test_a_window_leaves_the_rest_alone(engine, database_url):
    fake = FakeEvmChain()
    play(fake, 60, seed=23)

    with FakeRpcServer(fake) as node:
        asyncio.run(run_backfill(opener(database_url, node), first=20, last=29))

    inside = [f for f in facts_of(fake) if 20 <= f.position >> 32 <= 29]
    with engine.connect() as connection:
        total = sum(
            connection.scalar(text(f"SELECT count(*) FROM facts.{event.spec.table}"))
            for event in REGISTRY.events.values()
        )
    assert total == len(inside)


def test_a_window_above_the_head_is_refused_with_the_remedy(engine, database_url):
    with FakeRpcServer(FakeEvmChain()) as node, pytest.raises(Permanent) as error:
        asyncio.run(run_backfill(opener(database_url, node), first=500))

    assert "--from" in str(error.value)


def test_killed_at_any_moment_it_goes_on_and_nothing_is_lost_or_doubled(
    engine, database_url
):
    fake = FakeEvmChain()
    play(fake, 260, seed=24)
    rng = random.Random(24)
    kills = 0

    with FakeRpcServer(fake) as node:
        while True:
            process = start_backfill(database_url, node.url, workers=1 + kills % 2)
            try:
                process.wait(timeout=1.2 + rng.random() * 2)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                if kills < 6:
                    continue
                break
            break
        # It does not wait for the leases of those that were killed.
        process = start_backfill(database_url, node.url, workers=1)
        assert process.wait(timeout=60) == 0

    with engine.connect() as connection:
        source = sources.find(connection, "fake").id  # not always 1: ids are skipped
    check(engine, fake, source)


def test_killed_in_a_transaction_of_many_ranges_nothing_is_lost_or_doubled(
    engine, database_url
):
    fake = FakeEvmChain()
    play(fake, 260, seed=26)
    rng = random.Random(26)
    counted = []

    with FakeRpcServer(fake, latency=lambda: 0.02) as node:
        for kills in range(5):
            process = start_backfill(
                database_url, node.url, workers=1 + kills % 2, bulk_facts=10**6
            )
            wait_for_a_write(engine)
            time.sleep(rng.random() * 0.2)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            counted.append(uncovered_facts(engine))
        process = start_backfill(database_url, node.url, workers=1, bulk_facts=10**6)
        assert process.wait(timeout=60) == 0

    assert counted == [0] * 5
    with engine.connect() as connection:
        source = sources.find(connection, "fake").id
    check(engine, fake, source)


def uncovered_facts(engine):
    """How many facts there are of blocks that are not covered."""
    query = (
        "SELECT count(*) FROM facts.{} f WHERE NOT EXISTS (SELECT FROM control.coverage"
        " c WHERE c.source = f.source AND c.event = :event"
        " AND c.blocks @> (f.position >> 32))"
    )
    with engine.connect() as connection:
        return sum(
            connection.scalar(
                text(query.format(event.spec.table)), {"event": event.spec.id}
            )
            for event in REGISTRY.events.values()
        )


def wait_for_a_write(engine):
    """Wait until another connection has changed something and not committed it yet."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_xid IS NOT NULL AND now() - xact_start > interval '50 ms'"
    )
    for _ in range(3000):
        with engine.connect() as connection:
            if connection.scalar(query):
                return
        time.sleep(0.01)
    raise AssertionError("nothing was written")


def test_a_worker_that_dies_is_replaced(engine, database_url):
    fake = FakeEvmChain()
    play(fake, 200, seed=25)

    with FakeRpcServer(fake) as node:
        process = start_backfill(database_url, node.url, workers=2)
        victim = wait_for_lease(engine)
        os.kill(victim, signal.SIGKILL)
        assert process.wait(timeout=60) == 0

    check(engine, fake)
    with engine.connect() as connection:
        assert leased(connection, 1) == []


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_end_with_a_parent_that_was_killed(engine, database_url, workers):
    fake = FakeEvmChain()
    play(fake, 300, seed=31)

    with FakeRpcServer(fake) as node:
        process = start_backfill(database_url, node.url, workers=workers)
        wait_for_lease(engine)
        workers = descendants(process.pid)
        assert workers
        process.kill()
        process.wait()
        for _ in range(100):
            if not any(alive(pid) for pid in workers):
                break
            time.sleep(0.05)

    assert [pid for pid in workers if alive(pid)] == []


def test_a_ctrl_c_ends_a_backfill_and_its_workers(engine, database_url):
    fake = FakeEvmChain()
    play(fake, 300, seed=32)

    with FakeRpcServer(fake, latency=lambda: 0.1) as node:  # or it ends too soon
        process = start_backfill(database_url, node.url, workers=2)
        wait_for_lease(engine)
        workers = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) != 0

    assert [pid for pid in workers if alive(pid)] == []


def test_a_backfill_of_several_workers_outlives_all_of_its_connections(
    engine, database_url
):
    """They are cut again and again: at the start, while chunks are leased, at work."""
    fake = FakeEvmChain()
    play(fake, 200, seed=33)
    cut = 0

    with FakeRpcServer(fake) as node:
        process = start_backfill(database_url, node.url, workers=2)
        while process.poll() is None and cut < 60:
            with engine.connect() as connection:
                cut += connection.scalar(
                    text(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                        " WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database()"
                    )
                )
            time.sleep(0.1)
        assert process.wait(90) == 0

    assert cut > 5
    check(engine, fake)


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_follower_leaves_leased_ranges_to_their_workers(engine):
    fake = FakeEvmChain()
    play(fake, 30, seed=26)

    async def go(url):
        async with open_business(engine, url) as chain:
            lease = lease_range(engine, chain.id, BlockRange(10, 19))
            while not isinstance(outcome := await step(chain), Leased):
                assert isinstance(outcome, Wrote)
            assert outcome.first == 10
            left = missing_ranges(chain, BlockRange(0, 30))
            lease.release(engine)
            while not isinstance(await step(chain), CaughtUp):
                pass
            return left

    with FakeRpcServer(fake) as node:
        left = asyncio.run(go(node.url))

    assert left == [BlockRange(10, 19)]
    check(engine, fake)


def test_gaps_are_split_into_chunks_that_cover_them_once():
    gaps = [BlockRange(0, 99), BlockRange(500, 504)]

    chunks = split(gaps, 2, 30)

    blocks = [n for each in chunks for n in range(each.first, each.last + 1)]
    assert blocks == [*range(100), *range(500, 505)]
    sizes = [each.blocks for each in chunks]
    assert max(sizes) == 30
    assert sizes == sorted(sizes, reverse=True)
    assert 6 <= len(sizes) <= 32


def start_backfill(database_url, url, *, workers, bulk_facts=0):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.Popen(
        [
            sys.executable, ROOT / "tests/helpers/backfiller.py",
            database_url, url, str(workers), str(bulk_facts),
        ],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def forget_leases(engine):
    """As two minutes would."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM control.lease"))
        assert sources.find(connection, "fake") is not None


def wait_for_lease(engine):
    """The process id of a worker that holds a lease."""
    for _ in range(600):
        with engine.connect() as connection:
            owner = connection.scalar(text("SELECT owner FROM control.lease LIMIT 1"))
        if owner:
            return int(owner.rpartition(":")[2])
        time.sleep(0.02)
    raise AssertionError("no worker took a lease")


def in_process(engine, url, **options):
    """Opens the business for a backfill with one worker, in this process."""
    return partial(open_business, engine, url, **options)


def test_what_may_yet_be_undone_is_left_to_the_follower(engine):
    fake = FakeEvmChain()
    play(fake, 40, seed=27)

    with FakeRpcServer(fake) as node:
        opener = in_process(engine, node.url, finality=Depth(10))
        done = asyncio.run(run_backfill(opener))
        assert done.window == BlockRange(0, 30)
        asyncio.run(run_range(opener, BlockRange(0, 40)))
        with pytest.raises(Permanent, match="final"):
            asyncio.run(run_backfill(opener, first=31))

    with engine.connect() as connection:
        assert tip(connection, 1).height == 30


def test_one_worker_holds_its_window_too(engine):
    """A follower would write the same blocks beside it."""
    fake = FakeEvmChain()
    play(fake, 30, seed=28)
    held = []

    def look(_):
        with engine.connect() as connection:
            held.append(leased(connection, 1))

    with FakeRpcServer(fake) as node:
        opener = in_process(engine, node.url, blocks_per_range=5)
        asyncio.run(run_backfill(opener, last=19, report=look))

    assert held[0] == [BlockRange(0, 19)]
    with engine.connect() as connection:
        assert leased(connection, 1) == []


def test_a_lease_that_ran_out_while_the_node_was_away_is_taken_again(engine):
    fake = FakeEvmChain()
    play(fake, 30, seed=29)
    cut = []

    def lose(_):
        if not cut:
            cut.append(True)
            forget_leases(engine)

    with FakeRpcServer(fake) as node:
        opener = in_process(engine, node.url, blocks_per_range=5)
        asyncio.run(run_backfill(opener, report=lose))

    check(engine, fake)


def test_a_backfill_outlives_its_connections(engine):
    fake = FakeEvmChain()
    play(fake, 30, seed=30)

    def cut(_):
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            )

    failing = [True, True]

    def interfere(connection, cursor, statement, parameters, context, many):
        if failing and "INSERT INTO control.coverage" in statement:
            failing.pop()
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    event.listen(engine, "before_cursor_execute", interfere)
    try:
        with FakeRpcServer(fake) as node:
            opener = in_process(engine, node.url, blocks_per_range=5)
            asyncio.run(run_backfill(opener, report=cut))
    finally:
        event.remove(engine, "before_cursor_execute", interfere)

    assert not failing
    check(engine, fake)
