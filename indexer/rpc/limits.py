"""Limits of an endpoint, learnt from its refusals and kept, and its rate.

A limit is met once in an endpoint's life, not once in ours, so `EndpointLimits` go
through a `LimitsStore`. `indexer.rpc.refusals` reads the texts that teach them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """The most an endpoint is known to answer; None where no limit was met."""

    max_range: int | None = None  # blocks of one eth_getLogs, both ends included
    max_batch: int | None = None  # calls of one request
    max_results: int | None = None  # logs of one eth_getLogs
    max_terms: int | None = None  # addresses, or topics of a position, of one


class LimitsStore(Protocol):
    """Storage of limits. `endpoint` is a name without credentials."""

    async def load(self, endpoint: str) -> EndpointLimits:
        """The limits learnt before, an empty `EndpointLimits` when there are none."""
        ...

    async def save(self, endpoint: str, limits: EndpointLimits) -> None:
        """Store learnt limits."""
        ...


class MemoryLimitsStore:
    """Limits for as long as the process lives."""

    def __init__(self) -> None:
        self._limits: dict[str, EndpointLimits] = {}

    async def load(self, endpoint: str) -> EndpointLimits:
        """Return the limits that were saved for the endpoint."""
        return self._limits.get(endpoint, EndpointLimits())

    async def save(self, endpoint: str, limits: EndpointLimits) -> None:
        """Keep it in memory."""
        self._limits[endpoint] = limits


def lowered(current: int | None, tried: int, named: int | None) -> int:
    """The limit to believe after `tried` was refused: the named one, else half.

    A named limit that does not explain the refusal (it is not below what was tried, or
    an earlier refusal was already lower) is not believed.
    """
    limit = named if named is not None and named < tried else tried // 2
    if current is not None:
        limit = min(limit, current)
    return max(limit, 1)


Clock = Callable[[], float]


class RateControl:
    """The pacing of requests to one endpoint.

    There is no limit until the endpoint refuses one; then the rate is halved, and
    raised by a twentieth after each second's worth of successes.
    """

    def __init__(self, clock: Clock, per_second: float | None = None) -> None:
        self._clock = clock
        self._ceiling = per_second
        self.per_second = per_second
        self._next_at = 0.0
        self._window_at = clock()
        self._sent = 0
        self._good = 0

    def reserve(self) -> float:
        """Take the next place in the line; returns the seconds to wait for it."""
        now = self._clock()
        if now - self._window_at >= 1.0:
            self._window_at, self._sent = now, 0
        self._sent += 1
        if self.per_second is None:
            return 0.0
        at = max(now, self._next_at)
        self._next_at = at + 1.0 / self.per_second
        return at - now

    def succeeded(self) -> None:
        """The endpoint answered."""
        if self.per_second is None:
            return
        self._good += 1
        if self._good >= self.per_second:
            self._good = 0
            raised = self.per_second * 1.05
            self.per_second = min(raised, self._ceiling or 10_000.0)

    def refused(self) -> None:
        """Slow down after a rate-limit error."""
        elapsed = max(self._clock() - self._window_at, 0.1)
        seen = self.per_second or max(self._sent / elapsed, 2.0)
        self.per_second = max(seen / 2, 0.5)
        self._good = 0
