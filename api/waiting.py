"""Waiting for what becomes of a command: long polls and event streams.

Each process listens to Postgres with one connection, whoever waits. A waiter holds one
of the server's threads and no connection; how many may wait is bounded, so that reads
always find a thread.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from api.errors import Problem
from db.listen import Listener

CHANNEL = "chainfold_command"
WAITERS_MOST = 32
WAITERS_OF_ONE = 12  # so that nobody keeps all others from waiting
POLL_SECONDS = 2.0  # how often a waiter looks although nothing was heard


class Hub:
    """Wakes those who wait for a command when something happened to it."""

    def __init__(
        self,
        engine: Engine,
        most: int = WAITERS_MOST,
        most_of_one: int = WAITERS_OF_ONE,
    ) -> None:
        self._engine = engine
        self._most, self._most_of_one = most, most_of_one
        self._tenants: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._listener: Listener | None = None

    @property
    def waiting(self) -> int:
        """How many wait now."""
        with self._lock:
            return self._tenants.total()

    @contextmanager
    def waiter(self, command: str, tenant: str) -> Iterator[threading.Event]:
        """An event that is set whenever something happens to a command.

        Raises the Problem `too_many_waiting` when too many wait already, of everybody
        or of this tenant.
        """
        woken = threading.Event()
        with self._lock:
            mine, all_ = self._tenants[tenant], self._tenants.total()
            if all_ >= self._most or mine >= self._most_of_one:
                raise Problem(
                    "too_many_waiting",
                    f"{all_} requests wait already, {mine} of them yours. Ask without "
                    "wait=, or a little later.",
                )
            if self._listener is None:
                self._listener = Listener(self._engine, CHANNEL, self._heard).start()
            self._tenants[tenant] += 1
            self._waiting[command].add(woken)
        try:
            yield woken
        finally:
            with self._lock:
                self._tenants[tenant] -= 1
                self._waiting[command].discard(woken)
                if not self._waiting[command]:
                    del self._waiting[command]

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()

    def _heard(self, payload: str) -> None:
        command = payload.partition(":")[0]
        with self._lock:
            groups = [self._waiting[command]] if command in self._waiting else []
            if not payload:
                groups = list(self._waiting.values())
            for group in groups:
                for woken in group:
                    woken.set()


def sleep_until(woken: threading.Event, deadline: float) -> bool:
    """Wait to be woken; whether there is time left. Also wakes now and then."""
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    woken.wait(min(left, POLL_SECONDS))
    woken.clear()
    return True
