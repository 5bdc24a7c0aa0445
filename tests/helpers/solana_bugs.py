"""Faults that indexers of Solana had in production, to be put into the reader.

Each takes away what is there against it; whatever plays the reader has to find it.
"""

from __future__ import annotations

import indexer.solana.listing as listing_module
import indexer.solana.walk as walk_module
from db.solana import listing as stored_module
from indexer.errors import IndexerError
from indexer.solana.assemble import Assembler
from indexer.solana.listing import Walker
from indexer.solana.reading import Reader
from indexer.solana.source import SolanaSource


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

    async def same(self, final):
        return True

    monkeypatch.setattr(SolanaSource, "_finalise", believed)
    monkeypatch.setattr(SolanaSource, "_is_same", same)


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
