"""Giving facts the positions that the chain's way of counting logs gives them.

Blocks are read again and compared with what is stored. Where the same facts stand under
other numbers, they are put right, block by block in one transaction each; whatever else
is stored stays, and coverage too, so that readers miss nothing meanwhile.
"""

import asyncio
from collections.abc import Iterable, Iterator

from db import sources
from db.misplaced import count_misplaced, doubtful_blocks, doubtful_samples
from db.position import BlockRange
from indexer.chain import Chain
from indexer.planning import know_children
from indexer.source import Batch
from indexer.streams import events_of
from indexer.writer import rewrite_batch

POSITIONS = "positions"  # the trait that says whether they were looked at
ONE, MIXED = "one", "mixed"
SAMPLES = 8


async def sample_positions(chain: Chain) -> str:
    """Compare a few blocks, and store the way of counting as a trait."""
    heights = await asyncio.to_thread(_doubtful, chain, SAMPLES)
    found = await find_misplaced(chain, heights)
    shown = MIXED if found else ONE
    await asyncio.to_thread(_keep, chain, shown)
    return shown


async def find_misplaced(
    chain: Chain, heights: Iterable[int] | None = None
) -> dict[int, int]:
    """By block, how many facts have another number than they should.

    Looks at every block in which that can be, or only at those at some heights.
    """
    if heights is None:
        heights = await asyncio.to_thread(_doubtful, chain, None)
    found: dict[int, int] = {}
    for blocks in _ranges(heights, chain.range_blocks, chain.range_blocks):
        batch = await _read(chain, blocks)
        for height, count in (await asyncio.to_thread(_compare, chain, batch)).items():
            found[height] = found.get(height, 0) + count
    return dict(sorted(found.items()))


async def renumber(chain: Chain, heights: Iterable[int]) -> None:
    """Read these blocks again and put the positions of their facts right."""
    for blocks in _ranges(heights, 1, chain.range_blocks):
        batch = await _read(chain, blocks)
        await asyncio.to_thread(
            rewrite_batch, chain.engine, chain.registry, chain.id, batch, chain.guard
        )
    await asyncio.to_thread(_keep, chain, ONE)


async def _read(chain: Chain, blocks: BlockRange) -> Batch:
    streams = [each for each in chain.streams if each.start <= blocks.last]
    await know_children(chain, blocks.first, streams)
    return await chain.source.fetch(blocks, events_of(streams))


def _ranges(heights: Iterable[int], apart: int, most: int) -> Iterator[BlockRange]:
    """Ranges of at most so many blocks over heights that are not far apart."""
    first = last = -1
    for height in heights:
        if first >= 0 and (height - last > apart or height - first >= most):
            yield BlockRange(first, last)
            first = -1
        first, last = (height if first < 0 else first), height
    if first >= 0:
        yield BlockRange(first, last)


def _doubtful(chain: Chain, most: int | None) -> list[int]:
    events = [chain.registry.events[name] for name in events_of(chain.streams)]
    with chain.engine.connect() as connection:
        if most is None:
            return doubtful_blocks(connection, chain.id, events)
        return doubtful_samples(connection, chain.id, events, most)


def _compare(chain: Chain, batch: Batch) -> dict[int, int]:
    found: dict[int, int] = {}
    with chain.engine.begin() as connection:
        for facts in batch.facts:
            if not len(facts):
                continue
            counts = count_misplaced(connection, chain.id, facts, batch.range)
            for height, count in counts.items():
                found[height] = found.get(height, 0) + count
    return found


def _keep(chain: Chain, shown: str) -> None:
    with chain.engine.begin() as connection:
        sources.set_trait(connection, chain.id, POSITIONS, shown)
