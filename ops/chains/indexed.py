"""The highest block that is indexed, for nodes that must not be behind it."""

from collections.abc import Callable

from sqlalchemy import Engine

from db import blocks
from db.reads import read


def last_indexed(engine: Engine, source: int) -> Callable[[], int]:
    """Return a function that reads a source's highest indexed block; -1: none."""

    def look() -> int:
        tip = read(engine, lambda connection: blocks.tip(connection, source))
        return -1 if tip is None else tip.height

    return look
