"""The clock of fakestripe: it stands still until somebody moves it."""

from __future__ import annotations

import time
from dataclasses import dataclass

BEGIN = 1_767_261_843  # 2026-01-01 10:04:03 UTC


@dataclass(slots=True)
class Clock:
    """Seconds since 1970; a ``live`` one goes on by itself from where it was set."""

    seconds: float = BEGIN
    live: bool = False
    _since: float = 0.0

    def __post_init__(self) -> None:
        self._since = time.monotonic()

    def now(self) -> int:
        """Return the time in whole seconds, as Stripe tells it."""
        passed = time.monotonic() - self._since if self.live else 0.0
        return int(self.seconds + passed)

    def move(self, seconds: float) -> int:
        """Move it on and return the time; it never goes back."""
        self.seconds += max(seconds, 0.0)
        return self.now()
