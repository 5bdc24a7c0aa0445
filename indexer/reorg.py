"""Finding where a chain forked from what was written."""

from sqlalchemy import Engine

from db import blocks
from indexer.errors import Permanent, Retryable
from indexer.source import Source

_PAGE = 64


class FinalityViolated(Permanent):
    """A block that was final has another hash: an incident, not a reorg."""


async def find_fork(engine: Engine, source: Source, source_id: int, final: int) -> int:
    """The lowest height whose remembered block the source no longer has.

    Walks down from the highest remembered block. Raises FinalityViolated when that
    would undo a final block, Retryable when the source cannot tell (it lags behind).
    """
    with engine.connect() as connection:
        top = blocks.tip(connection, source_id)
    changed = None
    height = -1 if top is None else top.height
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
                changed = known.height
                continue
            if theirs.hash == known.hash:
                return known.height + 1 if changed is None else changed
            if known.height <= final:
                raise FinalityViolated(
                    f"block {known.height} is final and was written as "
                    f"0x{known.hash.hex()}, but the endpoint now has "
                    f"0x{theirs.hash.hex()}. Nothing was changed. Find out which is "
                    "right (another endpoint, the validators); if the new one is, run "
                    f"`chainfold rewind {source.name} {known.height}`."
                )
            changed = known.height
        height = page[-1].height - 1
    if changed is None:
        raise Retryable("no remembered block to compare with; waiting for the source")
    return changed
