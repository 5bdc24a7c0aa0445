"""What a process knows of children that another process found, or that are no more."""

import asyncio
import random
import time
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from db import coverage
from db.coverage import Stream
from db.position import BlockRange
from db.schema import migrate
from helpers.business import (
    FACTORY,
    PEOPLE,
    REGISTRY,
    DealMade,
    Paid,
    open_business,
    play,
)
from helpers.following import catch_up, check
from helpers.rpc import FakeEvmChain, FakeRpcServer, log_for
from indexer.chain import Chain
from indexer.errors import Retryable
from indexer.evm.finality import Depth
from indexer.follow import step
from indexer.planning import know_children
from indexer.streams import wallet_streams

DEAL = b"\xdd" * 20


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def made(title="a deal", deal=DEAL):
    return log_for(
        DealMade, FACTORY, deal="0x" + deal.hex(), owner=PEOPLE[0], title=title
    )


def paid(amount=1):
    return log_for(Paid, DEAL, payer=PEOPLE[1], amount=amount)


def test_one_that_waited_for_its_place_knows_the_children_made_meanwhile(engine):
    fake = FakeEvmChain()
    play(fake, 10, seed=41)

    async def go(url):
        async with open_business(engine, url) as waiting:
            async with open_business(engine, url) as first:
                await catch_up(first)
                fake.mine(made())
                await catch_up(first)
            fake.mine(paid())
            await catch_up(waiting)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_children_that_another_process_found_are_known_after_its_blocks(engine):
    """A backfill writes blocks 0..20 while the follower goes on above them."""
    fake = FakeEvmChain()
    fake.mine(made())
    fake.mine_many(25)
    fake.mine(paid())

    async def go(url):
        async with (
            open_business(engine, url) as follower,
            open_business(engine, url, window=BlockRange(0, 20)) as worker,
        ):
            await know_children(worker, 21, worker.streams)
            await catch_up(worker)
            await catch_up(follower)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_a_child_of_a_range_that_was_never_written_is_not_followed(engine):
    """The write fails, and when it is tried again the block is another one."""
    fake = FakeEvmChain()
    fake.mine_many(4)
    failing = [True]

    def guard(connection):
        if failing:
            failing.clear()
            raise Retryable("not now")

    async def go(url):
        async with open_business(engine, url, finality=Depth(30)) as chain:
            await catch_up(chain)
            fake.mine(made())
            chain.guard = guard
            with pytest.raises(Retryable, match="not now"):
                await step(chain)
            fake.reorg(1)
            fake.mine(paid())  # of a contract that nobody has announced
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_a_child_that_was_only_read_ahead_is_not_followed(engine):
    fake = FakeEvmChain()
    fake.mine_many(10)
    fake.mine(made())

    async def go(url):
        async with open_business(
            engine, url, finality=Depth(30), blocks_per_range=5, range_blocks=5
        ) as chain:
            await step(chain)
            await step(chain)
            assert chain.ahead
            await asyncio.wait([chain.ahead[-1].task])  # block 11, with the child
            fake.reorg(1)
            fake.mine(paid())
            fake.mine_many(3)
            chain.range_blocks = chain.blocks_per_range = 3
            chain.streams.append(Stream("chain.blocks", "another", 0))
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_a_child_that_the_node_held_back_is_found_when_its_block_is_read(engine):
    """Nothing proves that an answer about the children alone is complete."""
    fake = FakeEvmChain()
    other = b"\xde" * 20
    fake.mine(made())
    fake.mine_many(21)
    fake.mine(made(deal=other), log_for(Paid, other, payer=PEOPLE[2], amount=5))
    fake.mine(paid(), log_for(Paid, other, payer=PEOPLE[2], amount=6))
    hiding = [True]

    def alter(method, params, result):
        return [] if method == "eth_getLogs" and hiding else result

    async def go(url):
        async with (
            open_business(engine, url) as follower,
            open_business(engine, url, window=BlockRange(20, 30)) as worker,
        ):
            await know_children(worker, 20, worker.streams)
            hiding.clear()
            await catch_up(worker)
            await catch_up(follower)

    with FakeRpcServer(fake, alter=alter) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_the_next_range_is_that_of_all_gaps(engine):
    """Looked for near the lowest open block only; told from all gaps here."""
    rng = random.Random(7)
    for _ in range(150):
        streams = [Stream(f"e{n}", "", rng.choice([0, 0, 3, 40])) for n in range(4)]
        taken = [BlockRange(at, at + 2) for at in (0, 9, 30) if rng.random() < 0.3]
        within = BlockRange(rng.choice([0, 0, 7]), rng.choice([25, 60]))
        limit = rng.choice([1, 3, 10, 100])
        with engine.connect() as connection:
            for stream in streams:
                for _ in range(rng.randrange(6)):
                    first = rng.randrange(60)
                    part = BlockRange(first, min(first + rng.randrange(20), 70))
                    coverage.record(connection, 1, [stream], part)
            gaps = coverage.missing(connection, 1, streams, within)
            near = coverage.first_missing(
                connection, 1, streams, within, taken, span=limit
            )
        left = {
            stream: [BlockRange(at, at) for at in blocks]
            for stream, found in gaps.items()
            if (blocks := heights(found) - heights(taken))
        }
        assert coverage.next_range(near, limit) == slow_next_range(left, limit)


def heights(ranges):
    return {at for each in ranges for at in range(each.first, each.last + 1)}


def slow_next_range(gaps, limit):
    """The lowest block that is missing, and those after it that the same lack."""
    lacking = {s: {each.first for each in found} for s, found in gaps.items()}
    if not lacking:
        return None
    first = last = min(min(blocks) for blocks in lacking.values())
    who = sorted(s for s, blocks in lacking.items() if first in blocks)
    while last + 1 < first + limit and who == sorted(
        s for s, blocks in lacking.items() if last + 1 in blocks
    ):
        last += 1
    return BlockRange(first, last), who


def test_ten_thousand_gaps_in_each_of_a_hundred_streams_are_planned_at_once(engine):
    streams = [Stream(f"e{n}", "", 0) for n in range(100)]
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO control.coverage SELECT 1, 'e' || n, '', ("
                " SELECT range_agg(int8range(g * 10, g * 10 + 9))"
                " FROM generate_series(0, 9999) g) FROM generate_series(0, 99) n"
            )
        )
    with engine.connect() as connection:
        started = time.monotonic()
        gaps = coverage.first_missing(
            connection, 1, streams, BlockRange(0, 200_000), span=1000
        )
        seconds = time.monotonic() - started

    assert coverage.next_range(gaps, 1000) == (BlockRange(9, 9), sorted(streams))
    assert seconds < 1  # it was 16


def test_a_signer_of_ours_is_read_on_when_no_command_of_its_wallet_waits():
    """Its stream and that of a wallet may begin with the same block."""
    signer, wallet = b"\x01" * 20, b"\x02" * 20
    own = wallet_streams({signer: 0})
    source = SimpleNamespace(watch=lambda wallets: None)
    chain = Chain(None, None, source, 1, list(own))

    chain.watch({signer: 0, wallet: 5})
    assert sorted(own + wallet_streams({wallet: 5})) == chain.streams
    chain.watch({})
    assert own == chain.streams
