"""Positions of facts on a chain, and ranges of blocks.

A position is `height << 32 | ordinal`, so one bigint sorts facts as the chain does.
"""

from dataclasses import dataclass

ORDINAL_BITS = 32
MAX_HEIGHT = (1 << 31) - 1
MAX_ORDINAL = (1 << ORDINAL_BITS) - 1


def position(height: int, ordinal: int) -> int:
    """Pack a block height and an ordinal; raises OverflowError if one does not fit."""
    if not 0 <= height <= MAX_HEIGHT or not 0 <= ordinal <= MAX_ORDINAL:
        raise OverflowError(
            f"block {height}, ordinal {ordinal} does not fit a position"
        )
    return height << ORDINAL_BITS | ordinal


def height_of(packed: int) -> int:
    """The block height of a position."""
    return packed >> ORDINAL_BITS


@dataclass(frozen=True, slots=True, order=True)
class BlockRange:
    """A closed interval of blocks: both ends are included."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= MAX_HEIGHT:
            raise ValueError(f"{self.first}..{self.last} is not a range of blocks")

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"

    @property
    def blocks(self) -> int:
        """The number of blocks in the range."""
        return self.last - self.first + 1

    @property
    def lowest(self) -> int:
        """The lowest position in it."""
        return position(self.first, 0)

    @property
    def highest(self) -> int:
        """The highest position in it."""
        return position(self.last, MAX_ORDINAL)
