"""History written in transactions of many ranges, through the loop."""

import asyncio

import pytest
from sqlalchemy import text

from db import sources
from db.errors import LeaseLost
from db.position import BlockRange
from db.schema import migrate
from helpers.business import REGISTRY, open_business, play
from helpers.following import catch_up, check
from helpers.rpc import FakeEvmChain, FakeRpcServer
from indexer import bulk
from indexer.errors import Contradiction, Reorg, Retryable
from indexer.evm.finality import Depth
from indexer.follow import Wrote, step

SMALL = {"blocks_per_range": 4, "range_blocks": 4, "bulk_facts": 1_000_000}


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def played(blocks, seed):
    fake = FakeEvmChain()
    play(fake, blocks, seed=seed)
    return fake


def follow(engine, fake, *, alter=None, **options):
    """Catch up with a chain; the ranges that were written, in order."""

    async def go(url):
        async with open_business(engine, url, **SMALL | options) as chain:
            outcomes = await catch_up(chain)
        return [each.written.blocks for each in outcomes if isinstance(each, Wrote)]

    with FakeRpcServer(fake, alter=alter) as node:
        return asyncio.run(go(node.url))


async def steps(chain, count):
    for _ in range(count):
        await step(chain)


def test_history_is_written_in_few_transactions(engine):
    fake = played(200, seed=51)

    ranges = follow(engine, fake)

    assert ranges == [BlockRange(0, 200)]
    check(engine, fake)


@pytest.mark.parametrize("bound", [{"bulk_facts": 30}, {"bulk_seconds": 0.001}])
def test_facts_and_seconds_bound_a_transaction(engine, bound):
    fake = played(120, seed=52)

    ranges = follow(engine, fake, **bound)

    assert 5 < len(ranges) <= 31
    check(engine, fake)


def test_blocks_bound_a_transaction(engine, monkeypatch):
    monkeypatch.setattr(bulk, "MOST_BLOCKS", 20)
    fake = played(120, seed=53)

    ranges = follow(engine, fake)

    assert {each.blocks for each in ranges[:-1]} == {20}
    check(engine, fake)


def test_blocks_that_may_be_undone_are_written_range_by_range(engine):
    fake = played(100, seed=54)

    ranges = follow(engine, fake, finality=Depth(40))

    assert ranges[0].first == 0
    assert ranges[0].blocks > 20
    assert all(each.blocks <= 4 for each in ranges if each.last > 60)
    check(engine, fake)


def test_what_was_copied_before_a_range_that_fails_is_written(engine):
    """Block 50 cannot be read: all below it is there, and it is met in the end."""
    fake = played(100, seed=55)
    failing = [True]

    def alter(method, params, result):
        wanted = method == "eth_getBlockByNumber" and params[0] == hex(50)
        return None if wanted and failing[0] else result

    async def go(url):
        async with open_business(engine, url, **SMALL) as chain:
            first = await step(chain)
            with pytest.raises(Retryable):
                await steps(chain, 20)
            failing[0] = False
            await catch_up(chain)
        return first.written.blocks

    with FakeRpcServer(fake, alter=alter) as node:
        written = asyncio.run(go(node.url))

    assert written == BlockRange(0, 47)
    check(engine, fake)


def test_a_transaction_that_failed_is_tried_again_range_by_range(engine, monkeypatch):
    fake = played(80, seed=56)

    async def go(url):
        async with open_business(engine, url, **SMALL) as chain:
            with monkeypatch.context() as patch:
                patch.setattr(bulk, "fold_in", _refuse)
                with pytest.raises(Retryable):
                    await step(chain)
            assert rows(engine, "control.block") == 1  # block 1, from the start
            outcomes = await catch_up(chain)
        return [each.written.blocks for each in outcomes if isinstance(each, Wrote)]

    with FakeRpcServer(fake) as node:
        ranges = asyncio.run(go(node.url))

    assert all(each.blocks <= 4 for each in ranges)
    check(engine, fake)


def _refuse(*arguments, **options):
    raise Retryable("try again")


def test_children_that_another_process_finds_meanwhile_are_not_missed(
    engine, monkeypatch
):
    """They are stored as all was copied; what they did below is read again."""
    fake = played(60, seed=57)
    deal = b"\xdd" * 20
    told = []
    fold_in = bulk.fold_in

    def find(connection, registry, source, *rest, **options):
        if not told:
            told.append(source)
            row = {"contract": "Deal", "address": deal, "height": 7}
            with engine.begin() as other:
                sources.store_children(other, source, [row])
        fold_in(connection, registry, source, *rest, **options)

    monkeypatch.setattr(bulk, "fold_in", find)

    async def go(url):
        async with open_business(engine, url, **SMALL) as chain:
            with pytest.raises(Retryable, match="found contracts"):
                await step(chain)
            assert rows(engine, "facts.business_paid") == 0
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    assert told


@pytest.mark.parametrize("renewals", [0, 1, 2])
def test_one_that_lost_its_place_writes_nothing(engine, renewals):
    """As it begins, before it folds, or before it commits."""
    fake = played(60, seed=58)
    asked = []

    def guard(connection):
        asked.append(1)
        if len(asked) > renewals:
            raise LeaseLost("another process follows this chain now")

    async def go(url):
        async with open_business(engine, url, guard=guard, **SMALL) as chain:
            with pytest.raises(LeaseLost):
                await step(chain)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    assert rows(engine, "control.coverage") == 0


def test_blocks_written_beside_it_are_compared_at_the_end(engine, monkeypatch):
    """Another worker writes the block above, of a fork, while this one is open."""
    fake = played(60, seed=59)
    add = bulk.Bulk.add

    def beside(self, batch):
        added = add(self, batch)
        if batch.range.last == 60:
            with engine.begin() as other:
                other.execute(
                    text(
                        "INSERT INTO control.block (source, height, hash, parent_hash,"
                        " time) SELECT id, 61, '\\x01', '\\x02', 0 FROM control.source"
                    )
                )
        return added

    monkeypatch.setattr(bulk.Bulk, "add", beside)
    raised = []
    commit = bulk.Bulk.commit

    def seen(self):
        try:
            return commit(self)
        except Reorg as error:
            raised.append(error.height)
            raise

    monkeypatch.setattr(bulk.Bulk, "commit", seen)
    fake_head = fake.head

    async def go(url):
        async with open_business(engine, url, **SMALL) as chain:
            chain.window = BlockRange(0, fake_head)
            await step(chain)

    with FakeRpcServer(fake) as node, pytest.raises(Contradiction):
        asyncio.run(go(node.url))

    assert raised == [60]


def test_a_cancelled_transaction_leaves_nothing(engine):
    fake = played(150, seed=60)

    async def go(url):
        async with open_business(engine, url, **SMALL) as chain:
            for moment in (0.02, 0.05, 0.1, 0.15, 0.2):
                task = asyncio.create_task(step(chain))
                await asyncio.sleep(moment)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled() or task.exception() is None
            await catch_up(chain)
            with engine.connect() as connection:
                held = connection.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname ="
                        " current_database() AND state = 'idle in transaction'"
                        " AND pid <> pg_backend_pid()"
                    )
                )
            assert held == 0

    with FakeRpcServer(fake, latency=lambda: 0.005) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def rows(engine, table):
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}"))
