"""Find the fork between the chain and the written blocks."""

import asyncio

from sqlalchemy import Engine

from db import blocks
from db.blocks import Header
from db.declare.fields import Encoding
from db.position import MAX_HEIGHT
from indexer.errors import Contradiction, Late, Permanent
from indexer.source import Source

_PAGE = 64


class FinalityViolated(Permanent):
    """A block that was final has another hash: an incident, not a reorg."""

    incident = "finality_violated"


async def find_fork(
    engine: Engine, source: Source, source_id: int, final: int, suspect: int
) -> int:
    """The lowest height that may be another block now; at or above it all is undone.

    Walks down from the remembered block above `suspect`, where a contradiction was
    seen, to one that the source still has; what is not remembered between the two may
    have changed. Raises FinalityViolated when a final block changed, Retryable when
    the source cannot tell: it lags behind, or gives now this and now that answer.
    """
    changed = False
    lacking: int | None = None  # the lowest final block that the source has not
    height = min(suspect + 1, MAX_HEIGHT)
    while height >= 0:
        page = await asyncio.to_thread(_below, engine, source_id, height, _PAGE)
        if not page:
            break
        for known in page:
            theirs = await source.header(known.height)
            if theirs is None:
                if known.height <= final:
                    lacking = known.height
                continue
            if theirs.hash != known.hash:
                if known.height <= final:
                    raise await _violation(engine, source, source_id, known)
                changed = True
            elif changed:
                return max(known.height, final) + 1
            elif lacking is not None:
                raise _lacks(lacking)
            elif known.height <= suspect:
                raise Contradiction(
                    f"block {known.height} is as it was written, though it seemed to "
                    "have changed: endpoints disagree, or one lacks blocks; asking "
                    "again"
                )
        height = page[-1].height - 1
    if lacking is not None:
        raise _lacks(lacking)
    if not changed:
        raise Late("no remembered block to compare with; waiting for the source")
    return final + 1


async def same_below(
    engine: Engine, source: Source, source_id: int, height: int
) -> bool:
    """Whether the source has the nearest block remembered at or below a height.

    True also when none is remembered, or when the source does not tell.
    """
    page = await asyncio.to_thread(_below, engine, source_id, height, 1)
    if not page:
        return True
    theirs = await source.header(page[0].height)
    return theirs is None or theirs.hash == page[0].hash


async def _violation(
    engine: Engine, source: Source, source_id: int, known: Header
) -> FinalityViolated:
    """Make the error for a final block that changed; it names the lowest that did.

    Blocks below one that the source still has are the same, so the lowest is found by
    halving. Blocks that are not remembered may differ too: the rewind that is named
    takes all above the highest block that is the same.
    """
    lowest, theirs = known, await source.header(known.height)
    same = -1  # the highest block known to be the same
    while True:
        middle = (same + lowest.height) // 2
        tried = await asyncio.to_thread(
            _between, engine, source_id, same, lowest.height, middle
        )
        if tried is None:
            break
        found = await source.header(tried.height)
        if found is None:
            raise _lacks(tried.height)
        if found.hash == tried.hash:
            same = tried.height
        else:
            lowest, theirs = tried, found
    if theirs is None:
        raise _lacks(lowest.height)
    shown = Encoding.of_chain(source.chain_id).text
    return FinalityViolated(
        f"block {lowest.height} is final and was written as {shown(lowest.hash)}, but "
        f"the endpoint now has {shown(theirs.hash)}, and other blocks above it: it is "
        "on another chain, or the chain was started anew. Nothing was changed. Find "
        "out which is right (another endpoint, the validators); if the new one is, run "
        f"`chainfold rewind {source.name} {same + 1}`, which undoes all that differs"
    )


def _lacks(height: int) -> Late:
    return Late(
        f"the source lacks block {height}, which was final; waiting for it to catch up"
    )


def _below(engine: Engine, source_id: int, height: int, count: int) -> list[Header]:
    with engine.connect() as connection:
        return blocks.below(connection, source_id, height, count)


def _between(
    engine: Engine, source_id: int, lower: int, upper: int, middle: int
) -> Header | None:
    """The remembered block nearest to `middle` between two heights, both left out."""
    with engine.connect() as connection:
        for found in blocks.below(connection, source_id, middle, 1):
            if found.height > lower:
                return found
        return blocks.next_above(connection, source_id, middle, upper)
