"""The fault panel: what goes wrong with requests, webhooks and fees, and how often."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, field


class Fault(enum.Enum):
    """One way in which a request fails."""

    RATE_LIMITED = "rate_limited"  # 429 with Retry-After; nothing was done
    UNAVAILABLE = "unavailable"  # 503; nothing was done
    SERVER_ERROR = "server_error"  # 500 after the work; kept for its idempotency key
    CUT_BEFORE = "cut_before"  # no answer; nothing was done
    CUT_AFTER = "cut_after"  # no answer; the work was done
    SLOW = "slow"  # the answer comes after `slow_seconds`


class CutError(Exception):
    """The connection ends here, without an answer."""


class Webhook(enum.Enum):
    """One way in which the delivery of an event fails."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"


@dataclass(slots=True)
class Faults:
    """Faults that come by chance, and those that come next.

    ``shares`` has the probability of each fault of a request, ``webhooks`` of a
    delivery; with ``reorder`` deliveries come in any order. ``late_fees`` and
    ``late_events`` are shares too: of fees that wait for `settle_fee`, and of events
    that lists show up to ``late_seconds`` after they were made.
    """

    seed: int = 0
    shares: dict[Fault, float] = field(default_factory=dict)
    webhooks: dict[Webhook, float] = field(default_factory=dict)
    reorder: bool = False
    late_fees: float = 0.0
    late_events: float = 0.0
    late_seconds: int = 600
    retry_after: int = 1
    slow_seconds: float = 2.0
    _next: list[tuple[str, Fault]] = field(default_factory=list)
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._random = random.Random(f"faults {self.seed}")  # noqa: S311 (chance)

    def come_next(self, fault: Fault, path: str = "", *, times: int = 1) -> None:
        """Let the next requests whose path begins so meet a fault."""
        self._next += [(path, fault)] * times

    def of_request(self, method: str, path: str) -> Fault | None:
        """Return the fault that a request meets."""
        for at, (prefix, fault) in enumerate(self._next):
            if path.startswith(prefix):
                del self._next[at]
                return fault
        for fault, share in self.shares.items():
            if self._random.random() < share:
                return fault
        return None

    def of_delivery(self) -> Webhook | None:
        """Return the fault that a webhook meets."""
        for fault, share in self.webhooks.items():
            if self._random.random() < share:
                return fault
        return None

    def fee_is_late(self) -> bool:
        """Return whether the fee of the next charge is late."""
        return self._random.random() < self.late_fees

    def event_delay(self, _: str = "") -> int:
        """Return after how many seconds lists show the next event."""
        if self._random.random() >= self.late_events:
            return 0
        return self._random.randint(1, self.late_seconds)

    def shuffle(self, items: list[bytes]) -> None:
        """Put deliveries into any order, if they come so."""
        if self.reorder:
            self._random.shuffle(items)
