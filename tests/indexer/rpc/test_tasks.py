"""Running coroutines together."""

import asyncio

import pytest

from indexer.rpc.tasks import both, gather


async def failing(seconds=0.0):
    await asyncio.sleep(seconds)
    raise KeyError("no")


async def giving(value):
    await asyncio.sleep(0)
    return value


def test_results_come_in_order_and_the_first_failure_is_raised():
    assert asyncio.run(gather([giving(1), giving(2)])) == [1, 2]
    assert asyncio.run(both(giving(1), giving("a"))) == (1, "a")
    with pytest.raises(KeyError):
        asyncio.run(gather([asyncio.sleep(60), failing()]))


def test_one_that_is_cancelled_as_a_part_fails_ends_as_cancelled():
    async def slow_to_end():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)

    async def go():
        task = asyncio.create_task(both(failing(0.01), slow_to_end()))
        await asyncio.sleep(0.02)  # the failure is there, the other one is ending
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(go())
