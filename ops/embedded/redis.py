"""A real Redis (Valkey) in a directory, for as long as the process that started it.

The same rules as for Postgres: the first to ask starts it, others attach, the
starter's end is the server's end. Appends to disk each second. It may be emptied at
any moment all the same: nothing in it is the truth.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import signal
import time
from pathlib import Path

import redis

from ops.embedded.binaries import find_redis
from ops.embedded.server import EmbeddedServer
from ops.embedded.supervisor import (
    POLL_SECONDS,
    EmbeddedError,
    RunAs,
    ServerProcess,
    ServerState,
    choose_port,
    write_private,
)

PORT_ATTEMPTS = 5
START_SECONDS = 60.0
STOP_SECONDS = 20.0

log = logging.getLogger(__name__)


class EmbeddedRedis(EmbeddedServer):
    """One Redis server under `<directory>/redis`."""

    name = "redis"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)
    stop_seconds = STOP_SECONDS

    def start(self) -> str:
        """Start the server, or attach to the one already running; return its URL."""
        self._home.create()
        with self._home.starting(START_SECONDS * 2):
            state, life = self._attach()
            if life is None:
                return self._url(state)
            try:
                return self._url(self._launch(life))
            except BaseException:
                self._end_child()
                raise
            finally:
                os.close(life)

    def _attach(self) -> tuple[ServerState, int | None]:
        """Wait until the living server answers, or is gone (then: its life lock)."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            state = self._home.read_state() or ServerState(pid=0, port=0)
            life = self._home.take_life()
            if life is not None or self._answers(state):
                return state, life
            time.sleep(POLL_SECONDS)
        raise EmbeddedError(
            f"a Redis in {self._home.path} is alive (pid {state.pid}) but has not "
            f"answered for {START_SECONDS:.0f} s: see {self._home.log}; stop it with "
            f"kill -TERM, and start again"
        )

    def _launch(self, life: int) -> ServerState:
        program = find_redis()
        password = self._home.path / "password"
        if not password.exists():
            write_private(password, secrets.token_hex(24))
        for _ in range(PORT_ATTEMPTS):
            state = self._run_server(program, life)
            if state is not None:
                break
        else:
            raise EmbeddedError(
                f"Redis did not start; {self._home.log} ends with:\n"
                f"{self._home.last_words()}"
            )
        self._home.write_state(state)
        atexit.register(self.stop)
        log.info("redis_started port=%d pid=%d", state.port, state.pid)
        return state

    def _run_server(self, program: Path, life: int) -> ServerState | None:
        """Start the server on one port; None when it ended instead."""
        port = choose_port(self._home, self._port)
        child = ServerProcess(
            [str(program), str(self._configure(port))],
            home=self._home,
            run_as=RunAs.SELF,
            death=signal.SIGTERM,
        )
        child.spawn(life)
        self._child = child
        state = ServerState(pid=child.pid, port=port)
        deadline = time.monotonic() + START_SECONDS
        while child.running and time.monotonic() < deadline:
            if self._answers(state):
                return state
            time.sleep(POLL_SECONDS)
        self._end_child()
        return None

    def _configure(self, port: int) -> Path:
        """Write the configuration; a password on the command line is public."""
        data = self._home.path / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        conf = self._home.path / "redis.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {self._password()}",
            f'dir "{data}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        write_private(conf, "\n".join(lines) + "\n")
        return conf

    def _answers(self, state: ServerState) -> bool:
        """Tell whether our server listens there; another has another password."""
        if state.port == 0:
            return False
        try:
            with contextlib.closing(
                redis.Redis.from_url(self._url(state), socket_timeout=5)
            ) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def _password(self) -> str:
        return (self._home.path / "password").read_text().strip()

    def _url(self, state: ServerState) -> str:
        return f"redis://:{self._password()}@127.0.0.1:{state.port}/0"
