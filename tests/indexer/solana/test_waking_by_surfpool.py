"""The subscriptions of a node that nobody here wrote wake the follower."""

from __future__ import annotations

import asyncio
import time

import pytest
from solders.keypair import Keypair

from devnet.solana import ledger
from devnet.solana.client import Client
from devnet.solana.ledger import Entry
from helpers.solana_following import ADDRESS, Recorded, following, program, stored
from helpers.surfpool import SurfpoolUnavailable, surfpool_with_socket
from indexer.follow import follow
from indexer.solana.assemble import FollowedProgram
from indexer.solana.waking import Waker

pytestmark = [pytest.mark.slow, pytest.mark.chain]
NEVER = 600.0
SLOT_MS = 1000  # the follower must be able to catch up, and then to sleep


@pytest.fixture
def surfpool():
    try:
        with surfpool_with_socket(SLOT_MS) as found:
            yield found
    except SurfpoolUnavailable as error:
        pytest.skip(str(error))


def record(client, amount):
    author = client.payer.pubkey()
    people = [Keypair().pubkey()]
    client.send(ledger.emit(author, amount.to_bytes(32), Entry((amount,)), people))


async def follow_and_record(engine, url, client, *, ws):
    """Whether all that is recorded is stored soon, though nobody polls."""
    start = client.call("getSlot", {"commitment": "confirmed"})  # it has none below
    programs = [FollowedProgram(program, {ADDRESS: start}, [Recorded])]
    async with following(engine, [url], programs=programs) as chain:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(follow(chain, stop, poll_seconds=NEVER))]
        if ws is not None:
            waker = Waker("sol", [ws], chain.source.addresses(), chain.woken)
            tasks.append(asyncio.create_task(waker.run()))
        try:
            async with asyncio.timeout(30):
                while not chain.caught_up:
                    await asyncio.sleep(0.05)
            for amount in (5, 7, 11):
                await asyncio.sleep(1)
                await asyncio.to_thread(record, client, amount)
                end = time.monotonic() + 15
                while amount not in [found for _, found in stored(engine)[0]]:
                    if time.monotonic() > end:
                        return False
                    await asyncio.sleep(0.05)
            return True
        finally:
            for task in tasks[1:]:
                task.cancel()
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("told", [True, False])
def test_what_surfpool_tells_is_there_before_any_poll(engine, surfpool, told):
    url, ws = surfpool
    client = Client(url)
    client.fund()

    found = asyncio.run(follow_and_record(engine, url, client, ws=ws if told else None))

    assert found is told
