"""Bugs planted in the reader of Solana: what holds it must find each.

Each is a fault that indexers of Solana had in production, or one that a check of ours
is there for; without the check, tables are not what was done.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import indexer.solana.listing as listing_module
import indexer.solana.walk as walk_module
from db.solana import listing as stored_module
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.solana_following import Town, catch_up, following, stored
from indexer.errors import IndexerError
from indexer.solana.assemble import Assembler
from indexer.solana.listing import Walker
from indexer.solana.reading import Reader
from indexer.solana.source import SolanaSource

pytestmark = [pytest.mark.chain, pytest.mark.slow]


def null_is_skipped(monkeypatch):
    """A transaction that a replica has not is left out."""
    original = Reader.transactions

    async def transactions(self, signatures):
        found = []
        for each, slot in signatures.items():
            try:
                found += await original(self, {each: slot})
            except IndexerError:
                continue
        return found

    monkeypatch.setattr(Reader, "transactions", transactions)


def empty_is_the_beginning(monkeypatch):
    async def believed(self, *arguments):
        return None

    monkeypatch.setattr(Walker, "_check_end", believed)
    original = Walker._page

    async def page(self, name, before, limit, head, again):
        return await original(self, name, before, limit, head, {})

    monkeypatch.setattr(Walker, "_page", page)

    async def nothing(self, *arguments):
        return []

    monkeypatch.setattr(Walker, "_unfiltered", nothing)


def nothing_is_listed_again(monkeypatch):
    monkeypatch.setattr(listing_module, "OVERLAP", 0)


def confirmed_is_final(monkeypatch):
    async def believed(self, rows):
        return None

    monkeypatch.setattr(SolanaSource, "_finalise", believed)


def late_lines_open_nothing(monkeypatch):
    nothing = stored_module.text("SELECT 1")
    monkeypatch.setattr(stored_module, "_REOPEN", nothing)


def order_of_the_listing(monkeypatch):
    """The place of a transaction is where the node happened to list it."""
    original = Reader.place

    async def place(self, found, blocks):
        placed = await original(self, found, blocks)
        for at, each in enumerate(sorted(placed, key=signature_of)):
            object.__setattr__(each, "index", at)
        return sorted(placed, key=lambda e: (e.transaction.slot, e.index))

    monkeypatch.setattr(Reader, "place", place)


def signature_of(placed):
    return placed.transaction.transaction.signatures[0]


def failed_counts_too(monkeypatch):
    original = Assembler.assemble

    def assemble(self, placed, *others):
        for each in placed:
            each.transaction.meta.err = None
        return original(self, placed, *others)

    monkeypatch.setattr(Assembler, "assemble", assemble)


def both_ways_are_two(monkeypatch):
    original = walk_module._take_lines

    def take(walked, lines):
        given, walked.emitted = walked.emitted, []
        original(walked, lines)
        walked.emitted = sorted([*given, *walked.emitted], key=lambda e: e.number)

    monkeypatch.setattr(walk_module, "_take_lines", take)


BUGS = [
    null_is_skipped,
    empty_is_the_beginning,
    nothing_is_listed_again,
    confirmed_is_final,
    late_lines_open_nothing,
    order_of_the_listing,
    failed_counts_too,
    both_ways_are_two,
]


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
