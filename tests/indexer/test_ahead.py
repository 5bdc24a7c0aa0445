"""Ranges that are read ahead of the one that is written."""

import asyncio
import random
from itertools import pairwise

import pytest

from db.schema import migrate
from helpers.business import REGISTRY, open_business, play
from helpers.following import catch_up, check
from helpers.rpc import FakeEvmChain, FakeRpcServer, Faults
from indexer import ahead
from indexer.errors import Retryable
from indexer.evm.finality import Depth
from indexer.follow import Reorged, Wrote, step


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


async def steps(chain, count):
    for _ in range(count):
        await step(chain)
        await asyncio.sleep(0.05)


def played(blocks, seed):
    fake = FakeEvmChain()
    play(fake, blocks, seed=seed)
    return fake


def test_ranges_are_read_ahead_up_to_a_bound_and_are_adjacent(engine):
    fake = played(150, seed=21)
    depths = []

    async def go(url):
        async with open_business(
            engine, url, blocks_per_range=4, range_blocks=4
        ) as chain:
            for _ in range(3):
                assert isinstance(await step(chain), Wrote)
                depths.append(len(chain.ahead))
                blocks = [each.planned[0] for each in chain.ahead]
                assert all(high.first == low.last + 1 for low, high in pairwise(blocks))
            chain.batch_facts = 1
            await step(chain)
            await step(chain)
            await catch_up(chain)
            assert not chain.ahead

    with FakeRpcServer(fake, latency=lambda: 0.01) as node:
        asyncio.run(go(node.url))

    assert depths == [2, ahead.MOST_RANGES, ahead.MOST_RANGES]
    check(engine, fake)


def test_expected_facts_bound_what_is_read_ahead(engine):
    fake = played(150, seed=22)

    async def go(url):
        async with open_business(
            engine, url, blocks_per_range=4, range_blocks=4, batch_facts=1
        ) as chain:
            for _ in range(4):
                await step(chain)
                assert len(chain.ahead) <= 2
            await catch_up(chain)

    with FakeRpcServer(fake) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_a_failure_in_a_range_read_ahead_is_met_when_its_turn_comes(engine):
    """What is below it is written; all that was read above it is dropped."""
    fake = played(60, seed=23)
    broken = [40]

    def alter(method, params, result):
        if method == "eth_getBlockByNumber" and params[0] == hex(*broken):
            return result | {"parentHash": "0x" + "11" * 32}
        return result

    async def go(url):
        async with open_business(
            engine, url, blocks_per_range=5, range_blocks=5
        ) as chain:
            for first in range(0, 40, 5):
                outcome = await step(chain)
                assert outcome.written.blocks.first == first
            with pytest.raises(Retryable):
                await step(chain)
            assert not chain.ahead
            broken[0] = 1_000
            await catch_up(chain)

    with FakeRpcServer(fake, alter=alter) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


def test_the_head_is_not_waited_for_before_each_range_read_ahead(engine, monkeypatch):
    monkeypatch.setattr(ahead, "FRESH_SECONDS", 900.0)
    monkeypatch.setattr(ahead, "STALE_SECONDS", 900.0)
    fake = played(100, seed=24)

    async def go(url, node):
        async with open_business(
            engine, url, blocks_per_range=5, range_blocks=5
        ) as chain:
            first = await step(chain)
            play(fake, 5, seed=25)
            while chain.ahead:
                outcome = await step(chain)
                assert outcome.head.height == first.head.height
            asked = len([body for body in node.bodies if "latest" in str(body)])
            await catch_up(chain)
            return asked

    with FakeRpcServer(fake) as node:
        asked = asyncio.run(go(node.url, node))

    assert asked == 1
    check(engine, fake)


def test_the_head_is_asked_for_while_ranges_are_written(engine, monkeypatch):
    monkeypatch.setattr(ahead, "FRESH_SECONDS", 0.0)
    fake = played(60, seed=26)
    lying = []

    def alter(method, params, result):
        if lying and params and params[0] == "latest":
            return "no block"
        return result

    async def go(url):
        async with open_business(
            engine, url, blocks_per_range=3, range_blocks=3
        ) as chain:
            first = await step(chain)
            play(fake, 5, seed=27)
            heads = set()
            for _ in range(6):
                heads.add((await step(chain)).head.height)
                await asyncio.sleep(0.05)
            assert heads == {first.head.height, first.head.height + 5}
            lying.append(True)
            with pytest.raises(Retryable):
                await steps(chain, 20)
            lying.clear()
            await catch_up(chain)

    with FakeRpcServer(fake, alter=alter) as node:
        asyncio.run(go(node.url))

    check(engine, fake)


@pytest.mark.parametrize("mode", ["all", "filtered"])
@pytest.mark.parametrize("seed", range(5))
def test_reorgs_and_failures_in_ranges_read_ahead_leave_no_trace(
    engine, monkeypatch, mode, seed
):
    """Answers come in any order, some wrong, while blocks that are read change."""
    rng = random.Random(seed)
    monkeypatch.setattr(ahead, "FRESH_SECONDS", rng.choice([0.0, 0.05, 1.0]))
    fake = played(70, seed=seed)
    kinds = ("429", "500", "html", "truncated", "drop")
    faults = Faults(seed, rng.choice([0, 0.2]), kinds=kinds)
    outcomes = []

    async def go(url):
        highest = fake.head
        size = rng.choice([1, 3, 8])
        async with open_business(
            engine, url, mode=mode, finality=Depth(80), blocks_per_range=size,
            range_blocks=rng.choice([size, 10]),
        ) as chain:  # fmt: skip
            for _ in range(25):
                try:
                    outcomes.append(await step(chain))
                except Retryable:
                    continue
                if rng.random() < 0.3:
                    lowest = max(highest - 79, fake.head - 40, 1)
                    fake.truncate(rng.randint(min(lowest, fake.head), fake.head) - 1)
                    fake._salt += 1
                    play(fake, rng.randrange(1, 45), seed=rng.random())
                    highest = max(highest, fake.head)
                await asyncio.sleep(rng.choice([0, 0.005, 0.02]))
            # A lower head may hide what it replaced; chains grow, and then it is seen.
            play(fake, max(highest - fake.head, 0), seed=rng.random())
            outcomes.extend(await catch_up(chain, steps=500))
            # Whatever was written by then: blocks that were are replaced now.
            fake.truncate(fake.head - 2)
            fake._salt += 1
            play(fake, 5, seed=rng.random())
            outcomes.extend(await catch_up(chain, steps=500))

    with FakeRpcServer(
        fake, faults=faults, latency=lambda: rng.choice([0, 0.002, 0.015])
    ) as node:
        asyncio.run(go(node.url))

    assert any(isinstance(each, Reorged) for each in outcomes)
    check(engine, fake)
