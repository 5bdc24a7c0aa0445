"""Adjacent ranges read at once: answers in any order, judged from the lowest on."""

import asyncio
import random

import pytest

from db.position import BlockRange
from db.proofs import HeaderProof, Proof
from helpers.families import IDS, busy_chain, facts, made, noted, run, source_for
from helpers.recorded import votes
from helpers.rpc import FakeEvmChain, FakeRpcServer
from indexer.errors import Retryable
from indexer.evm.sealing import Sealing
from indexer.evm.turns import Turn, Window


def read_ahead(url, ranges, **options):
    """Each range as a task, all of them begun at once; their results."""

    async def work(source):
        tasks = [
            asyncio.create_task(source.fetch(each, IDS, follows=at > 0))
            for at, each in enumerate(ranges)
        ]
        return await asyncio.gather(*tasks, return_exceptions=True)

    return run(source_for(url, **options), work)


def cut(last, rng):
    first, found = 0, []
    while first <= last:
        end = min(first + rng.choice([0, 1, 4, 15]), last)
        found.append(BlockRange(first, end))
        first = end + 1
    return found


@pytest.mark.parametrize("mode", ["all", "filtered"])
@pytest.mark.parametrize("seed", range(6))
def test_ranges_read_at_once_give_what_they_give_one_after_the_other(mode, seed):
    """Children of one range are followed in the next, whichever comes first."""
    rng = random.Random(seed)
    chain = busy_chain(60, seed=seed)
    ranges = cut(60, rng)
    with FakeRpcServer(chain) as node:

        async def in_turn(source):
            return [await source.fetch(each, IDS) for each in ranges]

        expected = run(source_for(node.url, mode=mode), in_turn)
        node.latency = lambda: rng.choice([0, 0, 0.005, 0.03])
        found = read_ahead(node.url, ranges, mode=mode)

    for one, other in zip(expected, found, strict=True):
        assert facts(one) == facts(other)
        assert one.children == other.children
        assert {h.height for h in one.headers} <= {h.height for h in other.headers}


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_a_child_of_a_late_range_is_followed_in_one_that_was_there_before(mode):
    chain = FakeEvmChain()
    child = b"\xcc" * 20
    chain.mine(made(child))
    chain.mine(noted(child, 7))
    late = iter([0, 0, 0.1])  # chain id, the first range of blocks…
    with FakeRpcServer(chain, latency=lambda: next(late, 0)) as node:
        found = read_ahead(
            node.url, [BlockRange(0, 0), BlockRange(1, 1), BlockRange(2, 2)], mode=mode
        )

    assert len(facts(found[2])["Noted"]) == 1


def test_a_range_above_one_that_cannot_be_read_is_not_given():
    chain = busy_chain(30)
    wrong = chain.blocks[12]

    def alter(method, params, result):
        if method == "eth_getBlockByNumber" and int(params[0], 16) == wrong.number:
            return result | {"parentHash": "0x" + "11" * 32}
        return result

    ranges = [BlockRange(n, n + 4) for n in range(0, 30, 5)]
    with FakeRpcServer(chain, alter=alter) as node:
        found = read_ahead(node.url, ranges)

    assert [type(each).__name__ for each in found[:2]] == ["Batch", "Batch"]
    assert all(isinstance(each, Retryable) for each in found[2:])
    assert "range below" in str(found[3])


def test_many_ranges_are_under_way_to_a_far_endpoint():
    chain = busy_chain(80)
    ranges = [BlockRange(n, n + 4) for n in range(0, 80, 5)]
    with FakeRpcServer(chain, latency=lambda: 0.05) as node:
        read_ahead(node.url, ranges)

    assert node.most_at_once >= 6


def test_room_that_a_dropped_range_held_is_free_again():
    """Ranges are dropped at every stage; reading goes on as if they had not been."""
    chain = busy_chain(60)
    rng = random.Random(5)

    async def work(source):
        for _ in range(25):
            tasks = [
                asyncio.create_task(
                    source.fetch(BlockRange(n, n + 3), IDS, follows=n > 0)
                )
                for n in range(0, 60, 4)
            ]
            await asyncio.sleep(rng.choice([0, 0.002, 0.01, 0.03]))
            for task in tasks:
                task.cancel()
        found = await asyncio.wait_for(source.fetch(BlockRange(0, 60), IDS), 20)
        assert source._reader._window._held == 0
        return found

    with FakeRpcServer(chain, latency=lambda: rng.uniform(0, 0.01)) as node:
        again = run(source_for(node.url), work)
        assert facts(again) == facts(
            run(source_for(node.url), lambda s: s.fetch(BlockRange(0, 60), IDS))
        )


def test_seals_are_proved_again_from_below_a_range_that_was_dropped():
    """However many parts were proved above it, the state before it is kept."""
    blocks = [b.with_proof(Proof(HeaderProof.HASH)) for b in votes(4)]
    sealing = Sealing(None, required=True)
    for at in range(10):
        sealing.prove([blocks[at]])
    for low in range(10, 30, 10):  # two ranges, in parts of one block
        known = sealing.known()
        for block in blocks[low : low + 10]:
            sealing.prove([block])
        sealing.settle(BlockRange(low, low + 9), known)

    assert sealing.after(9) is not None
    assert sealing.after(19) is not None
    assert sealing.after(29) is not None
    assert sealing.after(15) is None
    again = sealing.prove(blocks[10:20])
    assert {b.header.proof.header for b in again} == {HeaderProof.SEALS}


def test_a_window_lets_in_as_many_as_fit_at_the_time():
    size = 2
    entered = []

    async def go():
        window = Window(lambda: size)

        async def enter(number):
            await window.enter()
            entered.append(number)

        tasks = [asyncio.create_task(enter(n)) for n in range(6)]
        await asyncio.sleep(0.01)
        assert len(entered) == 2
        nonlocal size
        size = 4
        window.leave()
        await asyncio.sleep(0.01)
        assert len(entered) == 5
        for _ in range(4):
            window.leave()
        await asyncio.gather(*tasks)

    asyncio.run(go())
    assert sorted(entered) == list(range(6))


def test_a_turn_comes_when_the_one_before_ended_well():
    async def go():
        low = Turn()
        middle = Turn(low)
        high = Turn(middle)
        await low.to_judge()
        waiting = asyncio.create_task(high.to_judge())
        low.end(well=True)
        await middle.to_judge()
        await asyncio.sleep(0)
        assert not waiting.done()
        middle.end(well=False)
        with pytest.raises(Retryable, match="range below"):
            await waiting

    asyncio.run(go())
