"""Finding where a chain forked from what was written."""

from sqlalchemy import Engine

from db import blocks
from db.blocks import Header
from db.position import MAX_HEIGHT
from indexer.errors import Permanent, Retryable
from indexer.source import Source

_PAGE = 64


class FinalityViolated(Permanent):
    """A block that was final has another hash: an incident, not a reorg."""


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
    height = min(suspect + 1, MAX_HEIGHT)
    while height >= 0:
        with engine.connect() as connection:
            page = blocks.below(connection, source_id, height, _PAGE)
        if not page:
            break
        for known in page:
            theirs = await source.header(known.height)
            if theirs is None and known.height <= final:
                raise Retryable(
                    f"the source lacks block {known.height}, which was final; waiting "
                    "for it to catch up"
                )
            if theirs is None:
                continue
            if theirs.hash != known.hash:
                _refuse_below(final, known, theirs, source.name)
                changed = True
            elif changed:
                return max(known.height, final) + 1
            elif known.height <= suspect:
                raise Retryable(
                    f"block {known.height} is as it was written, though it seemed to "
                    "have changed: endpoints disagree, or one lacks blocks; asking "
                    "again"
                )
        height = page[-1].height - 1
    if not changed:
        raise Retryable("no remembered block to compare with; waiting for the source")
    return final + 1


def _refuse_below(final: int, known: Header, theirs: Header, name: str) -> None:
    if known.height <= final:
        raise FinalityViolated(
            f"block {known.height} is final and was written as "
            f"0x{known.hash.hex()}, but the endpoint now has "
            f"0x{theirs.hash.hex()}. Nothing was changed. Find out which is "
            "right (another endpoint, the validators); if the new one is, run "
            f"`chainfold rewind {name} {known.height}`."
        )
