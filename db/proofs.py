"""Levels of proof of the blocks that were read, as multiranges.

A block's header and its logs have a level each. `HeaderProof` says how much of a header
is more than a node's word, `LogsProof` what shows that its logs are complete. A level
includes those below it; a block that is in no multirange has the lowest.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from sqlalchemy import Connection, text

from db.position import BlockRange


class Level(enum.IntEnum):
    """A level of proof; the higher one includes the lower."""

    @property
    def word(self) -> str:
        """The level's name in settings, tables and answers."""
        return self.name.lower()

    @classmethod
    def named(cls, words: Iterable[str]) -> Self:
        """The highest of the levels with these names, the lowest if none is."""
        found = set(words)
        return max((level for level in cls if level.word in found), default=cls(0))

    @classmethod
    def parse(cls, word: str) -> Self:
        """The level of a name; raises ValueError that lists the names."""
        for level in cls:
            if level.word == word:
                return level
        known = ", ".join(level.word for level in cls)
        raise ValueError(f"unknown value {word!r}: one of {known}")


class HeaderProof(Level):
    """The levels to which a header can be checked."""

    PARENT = 0  # its hash is the parent hash of the next block
    HASH = 1  # the hash was recomputed from the header's own fields
    SEALS = 2  # a quorum of the validators that were due signed the hash


class LogsProof(Level):
    """The levels to which the logs of a block can be shown to be complete."""

    NONE = 0  # the node's word
    BLOOM = 1  # the header's bloom is that of the logs
    RECEIPTS = 2  # they are those of the receipts, whose trie has the header's root


class Verify(enum.Enum):
    """When a check is made; the value is the setting's."""

    AUTO = "auto"  # near the head, as far as the chain and the endpoint allow it
    ALWAYS = "always"  # of every block; where it cannot be made, nothing is written
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Proof:
    """The levels of a block, or the lowest of several blocks."""

    header: HeaderProof = HeaderProof.PARENT
    logs: LogsProof = LogsProof.NONE

    @classmethod
    def of(cls, words: Iterable[str]) -> "Proof":
        """Return the proof levels stored in `control.proof`."""
        names = set(words)
        return cls(HeaderProof.named(names), LogsProof.named(names))

    def as_json(self) -> dict[str, str]:
        """The levels by name."""
        return {"header": self.header.word, "logs": self.logs.word}

    def levels(self) -> list[Level]:
        """Every level above the lowest that is reached."""
        reached: list[Level] = [x for x in HeaderProof if 0 < x <= self.header]
        return [*reached, *(x for x in LogsProof if 0 < x <= self.logs)]


UNPROVED = Proof()

_MARK = text(
    """
    INSERT INTO control.proof AS p (source, level, blocks)
    VALUES (:source, :level, CAST(:blocks AS int8multirange))
    ON CONFLICT (source, level) DO UPDATE SET blocks = p.blocks + EXCLUDED.blocks
    """
)
_UNMARK = text(
    """
    UPDATE control.proof SET blocks = blocks - int8multirange(int8range(:height, NULL))
    WHERE source = :source
    """
)
_HELD = text(
    """
    SELECT level FROM control.proof
    WHERE source = :source AND blocks @> int8range(:first, :last, '[]')
    """
)
_LACKING = text(
    """
    SELECT lower(r), upper(r) - 1 FROM unnest(
        int8multirange(int8range(:first, :last, '[]')) - coalesce(
            (SELECT blocks FROM control.proof
             WHERE source = :source AND level = :level), '{}')
    ) AS r ORDER BY 1 LIMIT :count
    """
)


def record(
    connection: Connection, source: int, proofs: Iterable[tuple[int, Proof]]
) -> None:
    """Add the levels of blocks, given as (height, proof), to those that are stored."""
    found: dict[str, list[int]] = {}
    for height, proof in proofs:
        for level in proof.levels():
            found.setdefault(level.word, []).append(height)
    for word, heights in sorted(found.items()):
        runs = ",".join(f"[{a},{b}]" for a, b in _runs(sorted(heights)))
        binds = {"source": source, "level": word, "blocks": "{" + runs + "}"}
        connection.execute(_MARK, binds)


def unmark_from(connection: Connection, source: int, height: int) -> None:
    """Forget the levels of blocks at or above a height."""
    connection.execute(_UNMARK, {"source": source, "height": height})


def lowest(connection: Connection, source: int, blocks: BlockRange) -> Proof:
    """The lowest level of each kind over a range of blocks."""
    binds = {"source": source, "first": blocks.first, "last": blocks.last}
    return Proof.of(row.level for row in connection.execute(_HELD, binds))


def lacking(
    connection: Connection, source: int, level: Level, within: BlockRange, count: int
) -> list[BlockRange]:
    """The lowest `count` ranges of blocks that are not proved at a level."""
    binds = {
        "source": source,
        "level": level.word,
        "first": within.first,
        "last": within.last,
        "count": count,
    }
    return [BlockRange(a, b) for a, b in connection.execute(_LACKING, binds)]


def _runs(heights: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted heights as closed runs without gaps."""
    starts, ends = [heights[0]], []
    for lower, upper in pairwise(heights):
        if upper > lower + 1:
            ends.append(lower)
            starts.append(upper)
    return list(zip(starts, [*ends, heights[-1]], strict=True))
