"""Adapt how many requests are under way to an endpoint: as many as make it faster.

After TCP Vegas (Brakmo and Peterson, 1995): of `limit` requests that each take `now`
seconds where one alone takes `least`, `limit * (1 - least / now)` wait in a queue
somewhere, here or at the node. While fewer than `QUEUED_LEAST` do, more requests bring
more answers; above `QUEUED_MOST` they only wait longer. So latency is hidden, and an
endpoint that is near, or bound by bandwidth or CPU, is not pressed. A refusal for too
many requests halves the limit, after which it grows by one for each round of answers.
"""

import asyncio
from collections import deque
from types import TracebackType

FIRST = 8
QUEUED_LEAST, QUEUED_MOST = 3.0, 6.0
FEWEST = 3  # unless the endpoint refuses
SMOOTHING = 0.25
FORGETTING = 0.0001  # of the least time, for each answer: the way there may change


class Concurrency:
    """A semaphore whose size follows what the endpoint shows."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = min(FIRST, most)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._least = self._now = 0.0
        self._answers = 0  # since the limit last moved by one
        self._refused = False
        self._full = False  # whether the limit was reached since it last moved

    async def __aenter__(self) -> None:
        if self._busy < self.limit and not self._waiting:
            self._busy += 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()  # the place was given just now
                raise
        self._full = self._full or self._busy >= self.limit

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._busy -= 1
        while self._waiting and self._busy < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def answered(self, seconds: float) -> None:
        """A request was answered after so many seconds; grow or shrink."""
        if not self._now:
            self._least = self._now = seconds
        self._now += SMOOTHING * (seconds - self._now)
        self._least += FORGETTING * (self._now - self._least)
        self._least = min(self._least, seconds)
        self._answers += 1
        if not self._full or self._now <= 0:
            return
        queued = self.limit * (1 - self._least / self._now)
        a_round = self._answers >= self.limit
        if queued < QUEUED_LEAST and (a_round or not self._refused):
            self._move(1)
        elif queued > QUEUED_MOST and a_round and self.limit > FEWEST:
            self._move(-1)

    def _move(self, by: int) -> None:
        self.limit = min(self.limit + by, self.most)
        self._answers, self._full = 0, self._busy >= self.limit

    def refused(self) -> None:
        """Shrink after a rate-limit error."""
        self.limit = max(min(self.limit, self._busy or self.limit) // 2, 1)
        self._refused, self._answers, self._full = True, 0, False
