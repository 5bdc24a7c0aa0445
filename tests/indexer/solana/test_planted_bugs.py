"""Bugs planted in the reader of Solana: what holds it must find each.

Each is a fault that indexers of Solana had in production, or one that a check of ours
is there for; without the check, tables are not what was done.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import indexer.solana.listing as listing_module
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.solana_bugs import BUGS
from helpers.solana_following import Town, catch_up, following, stored
from indexer.errors import IndexerError

pytestmark = [pytest.mark.chain, pytest.mark.slow]


def play(engine, seed):
    """A history under faults and forks; whether the tables are what was done."""
    options = NodeOptions(slot_ms=0, seed=seed, finalized_after=8)
    with SolanaNode(options) as node:
        town = Town(Devnet(node.url), seed)

        async def follow():
            async with following(engine, [node.url]) as chain:
                await catch_up(chain, 30)

        town.act(times=20)
        town.pass_slots(100)
        for turn in range(8):
            town.devnet.call("devnet_clearFaults")
            town.act(times=town.chance.randint(2, 5))
            slot = town.devnet.call("getSlot", {"commitment": "processed"})
            town.pass_slots(3)
            if turn % 4 == 0:  # in the middle of the first walk
                town.devnet.fault(
                    kind="empty", method="getSignaturesForAddress", skip=1, times=1
                )
            elif turn % 4 == 1:
                town.devnet.fault(kind="null", times=40)
            elif turn % 4 == 2:
                town.devnet.fault(
                    kind="hide", method="getSignaturesForAddress", slot=slot, times=0
                )
            with suppress(AssertionError, IndexerError):  # the next time, then
                asyncio.run(follow())
            if turn % 4 == 0:
                town.devnet.fork(4)
                town.pass_slots(12)
        town.devnet.call("devnet_clearFaults")
        town.pass_slots(20)
        try:
            asyncio.run(follow())
        except (AssertionError, IndexerError):
            return False
        return stored(engine) == town.truth()


@pytest.fixture(autouse=True)
def short_pages(monkeypatch):
    """So that a page does not happen to hold what nobody asked for."""
    monkeypatch.setattr(listing_module, "PAGE_MAX", 6)


def test_without_a_bug_the_tables_are_what_was_done(engine):
    assert play(engine, 1)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_is_found(engine, bug, monkeypatch):
    bug(monkeypatch)

    assert not play(engine, 1)
