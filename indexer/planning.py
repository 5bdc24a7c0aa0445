"""Plan the next range to read, and learn what must be known before."""

import asyncio
from collections.abc import Sequence

from db import coverage, sources
from db.coverage import Stream
from db.leases import leased
from db.position import BlockRange
from indexer.chain import Chain, Planned
from indexer.source import Child
from indexer.streams import CHILDREN, FACTORY
from indexer.writer import Written


def plan_range(chain: Chain, head: int, done: Sequence[Planned] = ()) -> Planned | None:
    """The next range to read; those `done` are being read or about to be written."""
    within = _within(chain, head)
    if within is None:
        return None
    limit = min(chain.blocks_per_range, chain.range_blocks)
    if not done and chain.ahead:
        limit = chain.ahead[0].planned[0].blocks  # so that what was read ahead is used
    with chain.engine.connect() as connection:
        taken = [
            each
            for each in leased(connection, chain.id)
            if each not in chain.own_leases
        ]
        taken += [blocks for blocks, _ in done]
        gaps = coverage.first_missing(
            connection, chain.id, chain.streams, within, taken, span=limit
        )
    return coverage.next_range(gaps, limit)


def first_gap(chain: Chain, head: int) -> int | None:
    """Return the lowest missing block, leased or not."""
    within = _within(chain, head)
    if within is None:
        return None
    with chain.engine.connect() as connection:
        gaps = coverage.first_missing(connection, chain.id, chain.streams, within)
    planned = coverage.next_range(gaps, 1)
    return None if planned is None else planned[0].first


def _within(chain: Chain, head: int) -> BlockRange | None:
    """The blocks that are read here: up to the head, or those of the window."""
    if chain.window is None:
        return BlockRange(0, head)
    last = min(head, chain.window.last)
    return None if last < chain.window.first else BlockRange(chain.window.first, last)


async def know_children(chain: Chain, below: int, reading: list[Stream]) -> None:
    """Find all contracts that factories made under a block, before reading from it.

    Blocks whose children are known already are not asked for again; those that another
    process found, or that were found before this one began, come from the database.
    """
    needed = {
        stream.filter.removeprefix(FACTORY)
        for stream in reading
        if stream.filter.startswith(FACTORY)
    }
    streams = [s for s in chain.streams if s.event.startswith(CHILDREN)]
    streams = [s for s in streams if s.event.removeprefix(CHILDREN) in needed]
    if not streams:
        return
    if await asyncio.to_thread(_count_children, chain) != chain.children:
        chain.known.clear()  # another process found some, or undid some
    if all(chain.known.get(stream.event, -1) >= below for stream in streams):
        return
    while True:
        found = await asyncio.to_thread(_undiscovered, chain, streams, below)
        if found is None:
            break
        children = await chain.source.discover(found[0])
        await asyncio.to_thread(_keep_children, chain, found, children)
    chain.drop_ahead()  # it was read without those that are known now
    known, rows = await asyncio.to_thread(_load_children, chain)
    chain.source.forget_children(0)
    chain.source.learn_children(rows)
    chain.known, chain.children = known, len(rows)


def know_written(chain: Chain, planned: Planned, written: Written) -> None:
    """The children of a range that was written are known to the source already."""
    chain.children += written.children
    blocks, streams = planned
    for stream in streams:
        if chain.known.get(stream.event, -1) >= blocks.first:
            upper = blocks.last + 1
            chain.known[stream.event] = max(chain.known[stream.event], upper)


def forget_unwritten(chain: Chain) -> None:
    """Forget children learnt from ranges that were not written.

    Their blocks may be others when they are read again, with other children.
    """
    chain.known.clear()
    chain.drop_ahead()


def _undiscovered(chain: Chain, streams: list[Stream], below: int) -> Planned | None:
    if below == 0:
        return None
    with chain.engine.connect() as connection:
        gaps = coverage.missing(connection, chain.id, streams, BlockRange(0, below - 1))
    return coverage.next_range(gaps, chain.range_blocks)


def _keep_children(chain: Chain, found: Planned, children: Sequence[Child]) -> None:
    rows = [
        {"contract": c.contract, "address": c.address, "height": c.height}
        for c in children
    ]
    with chain.engine.begin() as connection:
        if chain.guard is not None:
            chain.guard(connection)
        sources.store_children(connection, chain.id, rows)
        coverage.record(connection, chain.id, found[1], found[0])


def _count_children(chain: Chain) -> int:
    with chain.engine.connect() as connection:
        return sources.count_children(connection, chain.id)


def _load_children(chain: Chain) -> tuple[dict[str, int], list[Child]]:
    """For each stream of children its first gap, and all children."""
    streams = [s for s in chain.streams if s.event.startswith(CHILDREN)]
    with chain.engine.connect() as connection:
        # First up to where they are known: what is found meanwhile does no harm.
        known = {
            stream.event: coverage.reached(connection, chain.id, stream)
            for stream in streams
        }
        rows = sources.children(connection, chain.id)
    return known, [Child(*row) for row in rows]


def resize(chain: Chain, blocks: int, facts: int) -> None:
    """Aim the next range at the wanted number of facts; at most double or halve."""
    density = chain.facts_per_block = facts / blocks
    ideal = chain.range_blocks if not density else int(chain.batch_facts / density)
    now = chain.blocks_per_range
    chain.blocks_per_range = max(1, min(ideal, now * 2, chain.range_blocks))
