"""The order of ranges that are read at once.

Answers may come in any order; but questions are asked, and what came is judged, range
by range: children that one range announces are followed in the next, and seals are
proved from the block before. So no range waits for room that a later one holds.
"""

import asyncio
from collections.abc import Callable

from indexer.errors import Retryable


class Turn:
    """The place of one range; `before` is that of the range right below it."""

    def __init__(self, before: "Turn | None" = None) -> None:
        self._before = before
        self._asked = asyncio.Event()
        self._ended = asyncio.Event()
        self._well = False

    async def to_ask(self) -> None:
        """Wait until all questions about the ranges below are asked."""
        if self._before is not None:
            await self._before._asked.wait()

    async def to_judge(self) -> None:
        """Wait until the ranges below are judged; raises when one could not be read."""
        if self._before is not None:
            await self._before._ended.wait()
            if not self._before._well:
                raise Retryable("the range below could not be read: read again from it")
            self._before = None

    def asked(self) -> None:
        """All questions are asked."""
        self._asked.set()

    def end(self, *, well: bool) -> None:
        """The range was read, or it will not be."""
        self._well = well
        self._asked.set()
        self._ended.set()


class Window:
    """Counts the parts that were asked for and not yet judged."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._held = 0
        self._freed = asyncio.Event()

    async def enter(self) -> None:
        """Wait for room for one part more, and take it."""
        while self._held >= max(self._size(), 1):
            self._freed.clear()
            await self._freed.wait()
        self._held += 1

    def leave(self) -> None:
        """A part was handed on, or is not wanted any more."""
        self._held -= 1
        self._freed.set()
