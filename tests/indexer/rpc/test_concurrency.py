"""How many requests are under way, against endpoints of known latency and speed."""

import asyncio

import pytest

from indexer.rpc.concurrency import FEWEST, FIRST, Concurrency


def settled(latency, service, *, most=32, rounds=400, concurrency=None):
    """The limit after so many rounds of an endpoint that answers one after the other.

    A round trip takes `latency`, and each answer `service` seconds of the endpoint.
    """
    found = concurrency or Concurrency(most)

    async def go():
        for round_ in range(rounds):
            held = found.limit
            for _ in range(held):
                await found.__aenter__()
            for place in range(1, held + 1):
                # The first rounds meet an idle endpoint, all later ones a busy one.
                queue = place if round_ < 2 else held
                found.answered(max(latency + service, queue * service))
                await found.__aexit__(None, None, None)

    asyncio.run(go())
    return found.limit


@pytest.mark.parametrize("latency", [0.02, 0.1, 0.3])
def test_as_many_requests_as_the_latency_hides_are_under_way(latency):
    service = 0.01
    assert settled(latency, service, most=100) >= latency / service


def test_an_endpoint_bound_by_its_own_speed_is_not_pressed():
    assert FEWEST <= settled(0.0, 0.01) <= 10
    assert settled(0.02, 0.01) <= 16


def test_no_more_than_the_settings_allow_are_under_way():
    assert settled(0.3, 0.001, most=5) == 5
    assert settled(0.3, 0.001, most=1) == 1


def test_a_refusal_halves_the_limit_and_it_grows_slowly_after_that():
    found = Concurrency(32)
    assert settled(0.3, 0.001, concurrency=found) == 32
    found.refused()
    assert found.limit == 16
    assert settled(0.3, 0.001, concurrency=found, rounds=4) == 20
    for _ in range(9):
        found.refused()
    assert found.limit == 1
    assert settled(0.3, 0.001, concurrency=found, rounds=100) == 32


def test_requests_above_the_limit_wait_in_order_and_cancelled_ones_take_no_place():
    found = Concurrency(2)
    log = []

    async def ask(number):
        async with found:
            log.append(number)
            await asyncio.sleep(0.01)

    async def go():
        tasks = [asyncio.create_task(ask(n)) for n in range(8)]
        await asyncio.sleep(0)
        for cancelled in (3, 4, 0):
            tasks[cancelled].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert log == [0, 1, 2, 5, 6, 7]
        await asyncio.wait_for(ask(8), 1)
        await asyncio.wait_for(asyncio.gather(ask(9), ask(10)), 1)

    asyncio.run(go())


def test_one_that_is_cancelled_as_its_place_comes_gives_it_on():
    found = Concurrency(1)

    async def wait():
        async with found:
            pass

    async def go():
        await found.__aenter__()
        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        await found.__aexit__(None, None, None)
        first.cancel()  # it has the place and does not know it yet
        await asyncio.wait_for(second, 1)

    asyncio.run(go())


def test_an_endpoint_that_nobody_knows_is_asked_a_few_things_at_once():
    assert Concurrency(32).limit == FIRST
