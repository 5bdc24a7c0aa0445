"""Wait for changes of a command: long polls and event streams.

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

CLIENT = "chainfold.client"  # in the environ, from the server: who waits
CHANNEL = "chainfold_command"
WAITERS_MOST = 32
WAITERS_OF_STAFF = 8  # of them, which nobody else can take
WAITERS_OF_ONE = 4  # a client needs one, and a page or two of it may be open
POLL_SECONDS = 2.0  # how often a waiter looks although nothing was heard


class Waiter(threading.Event):
    """An event that is set on a notification, or when the client disconnects."""

    gone = False

    def hang_up(self) -> None:
        """End the wait: the client disconnected."""
        self.gone = True
        self.set()


class Hub:
    """Wakes those who wait for a command when something happened to it."""

    def __init__(
        self,
        engine: Engine,
        most: int = WAITERS_MOST,
        most_of_one: int = WAITERS_OF_ONE,
        of_staff: int = WAITERS_OF_STAFF,
    ) -> None:
        self._engine = engine
        self._most, self._most_of_one = most, most_of_one
        self._of_staff = of_staff
        self._tenants: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._listener: Listener | None = None

    @property
    def waiting(self) -> int:
        """Return how many wait now."""
        with self._lock:
            return self._tenants.total()

    @contextmanager
    def waiter(
        self, command: str, tenant: str, *, staff: bool = False
    ) -> Iterator[Waiter]:
        """An event that is set whenever something happens to a command.

        Raises the Problem `too_many_waiting` when too many wait already, of everybody
        or of this tenant; some places are kept for the staff.
        """
        woken = Waiter()
        most = self._most if staff else self._most - self._of_staff
        with self._lock:
            mine, all_ = self._tenants[tenant], self._tenants.total()
            if all_ >= most or mine >= self._most_of_one:
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
                if not self._tenants[tenant]:
                    del self._tenants[tenant]
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


def sleep_until(woken: Waiter, deadline: float) -> bool:
    """Wait for a notification; False at the deadline, or when the client is gone."""
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    woken.wait(min(left, POLL_SECONDS))
    woken.clear()
    return not woken.gone
