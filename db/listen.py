"""Listen for notifications of Postgres on one shared connection."""

import contextlib
import logging
import select
import threading
import time
from collections.abc import Callable

import psycopg2
from sqlalchemy import Engine

AGAIN_SECONDS = 1.0
BEAT_SECONDS = 15.0

log = logging.getLogger(__name__)


class Listener:
    """Calls `heard` with the payload of each notification on a channel.

    It has a thread and a connection of its own, and finds its way back to a database
    that was away; `heard` gets "" then, since anything may have been missed.
    """

    def __init__(
        self, engine: Engine, channel: str, heard: Callable[[str], None]
    ) -> None:
        self._engine, self._channel, self._heard = engine, channel, heard
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"listen-{channel}", daemon=True
        )

    def start(self) -> "Listener":
        """Begin to listen."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Hang up."""
        self._stop.set()
        self._thread.join(BEAT_SECONDS + 5)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (psycopg2.Error, OSError) as error:
                gist = str(error).strip().split("\n", 1)[0]
                log.warning("listen_failed channel=%s cause=%s", self._channel, gist)
                self._stop.wait(AGAIN_SECONDS)

    def _listen(self) -> None:
        url = self._engine.url.set(drivername="postgresql")
        dsn = url.render_as_string(hide_password=False)
        with contextlib.closing(psycopg2.connect(dsn, connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'LISTEN "{self._channel}"')
            self._heard("")
            quiet_since = time.monotonic()
            while not self._stop.is_set():
                ready, _, _ = select.select([connection], [], [], 0.5)
                if not ready and time.monotonic() - quiet_since < BEAT_SECONDS:
                    continue
                quiet_since = time.monotonic()
                if not ready:  # a connection that is cut says nothing by itself
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
                connection.poll()
                for notice in connection.notifies:
                    self._heard(notice.payload)
                connection.notifies.clear()
