"""Remembered blocks: their hashes, to see forks, and their times."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    delete,
    select,
    text,
)

from db import proofs
from db.arrays import array_text
from db.control import block
from db.proofs import UNPROVED, Proof

NO_BLOCK = bytes(32)  # stands for a hash at a height that the chain has skipped


@dataclass(frozen=True, slots=True)
class Header:
    """One block as remembered for fork detection; hashes are 32 bytes."""

    height: int
    hash: bytes
    parent_hash: bytes
    time: int  # seconds since the epoch
    proof: Proof = field(default=UNPROVED, compare=False)  # as it was read

    @property
    def exists(self) -> bool:
        """Whether there is a block; where a height has none, its hash is `NO_BLOCK`."""
        return self.hash != NO_BLOCK


_STORE = text(
    """
    INSERT INTO control.block (source, height, hash, parent_hash, time)
    SELECT :source, * FROM unnest(CAST(:heights AS bigint[]), CAST(:hashes AS bytea[]),
        CAST(:parents AS bytea[]), CAST(:times AS bigint[]))
    ON CONFLICT DO NOTHING
    """
)


def remember(connection: Connection, source: int, headers: Sequence[Header]) -> None:
    """Store headers and what is proved of them; one that is there stays as it is."""
    store(connection, source, headers)
    proofs.record(connection, source, proved(headers))


def store(connection: Connection, source: int, headers: Sequence[Header]) -> None:
    """Store headers without what is proved of them."""
    if headers:
        connection.execute(
            _STORE,
            {
                "source": source,
                "heights": array_text(str(header.height) for header in headers),
                "hashes": array_text(_hex(header.hash) for header in headers),
                "parents": array_text(_hex(header.parent_hash) for header in headers),
                "times": array_text(str(header.time) for header in headers),
            },
        )


def _hex(value: bytes) -> str:
    return "\\x" + value.hex()


def proved(headers: Iterable[Header]) -> list[tuple[int, Proof]]:
    """Return the heights and levels of the headers of which anything is proved."""
    return [(h.height, h.proof) for h in headers if h.proof is not UNPROVED]


def stored(
    connection: Connection, source: int, heights: Sequence[int]
) -> dict[int, Header]:
    """The remembered headers at these heights."""
    if not heights:
        return {}
    query = select(block).where(block.c.source == source, block.c.height.in_(heights))
    return {row.height: _header(row) for row in connection.execute(query)}


def tip(connection: Connection, source: int) -> Header | None:
    """The highest remembered block."""
    query = (
        select(block)
        .where(block.c.source == source)
        .order_by(block.c.height.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else _header(row)


def below(connection: Connection, source: int, height: int, count: int) -> list[Header]:
    """The remembered blocks at or below a height, highest first."""
    query = (
        select(block)
        .where(block.c.source == source, block.c.height <= height)
        .order_by(block.c.height.desc())
        .limit(count)
    )
    return [_header(row) for row in connection.execute(query)]


def next_above(
    connection: Connection, source: int, height: int, below: int
) -> Header | None:
    """The lowest remembered block above a height and below another."""
    query = (
        select(block)
        .where(block.c.source == source, block.c.height > height)
        .where(block.c.height < below)
        .order_by(block.c.height)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else _header(row)


def forget_from(connection: Connection, source: int, height: int) -> None:
    """Forget the blocks at or above a height."""
    connection.execute(
        delete(block).where(block.c.source == source, block.c.height >= height)
    )
    proofs.unmark_from(connection, source, height)


def broken_link(
    connection: Connection, source: int, headers: Sequence[Header]
) -> int | None:
    """The lowest height at which headers contradict remembered blocks, None if none.

    A header contradicts when the same height has another hash, when its parent is not
    the block remembered below it, or when it is not the parent of the one above.
    """
    known = {header.height: header for header in headers}
    remembered = _stored_around(connection, source, sorted(known))
    if not remembered:
        return None
    for height in sorted(known):
        header = known[height]
        same = remembered.get(height)
        lower = remembered.get(height - 1)
        upper = remembered.get(height + 1)
        if same is not None and same.hash != header.hash:
            return height
        if lower is not None and lower.hash != header.parent_hash:
            return height - 1
        if upper is not None and upper.parent_hash != header.hash:
            return height
    return None


def _stored_around(
    connection: Connection, source: int, heights: Sequence[int]
) -> dict[int, Header]:
    """The remembered headers at sorted heights, just below and just above them."""
    if not heights:
        return {}
    if heights[-1] - heights[0] >= 2 * len(heights):  # others lie between them
        around = {height + by for height in heights for by in (-1, 0, 1)}
        return stored(connection, source, sorted(around))
    query = select(block).where(
        block.c.source == source,
        block.c.height.between(heights[0] - 1, heights[-1] + 1),
    )
    return {row.height: _header(row) for row in connection.execute(query)}


def time_at(connection: Connection, source: int, height: int) -> int | None:
    """The time of the highest remembered block at or below a height."""
    found = below(connection, source, height, 1)
    return found[0].time if found else None


def _header(row: Any) -> Header:
    return Header(row.height, bytes(row.hash), bytes(row.parent_hash), row.time)
