"""A real Postgres in a directory, for as long as the process that started it.

::

    with EmbeddedPostgres(Path(".chainfold")) as url:   # postgresql+psycopg2://…
        engine = create_engine(url)

The first process to ask starts the server; others attach to it and never stop it.
When the starter ends, however it ends, the server shuts down; whoever asks next
starts it again, on the same port while that is free, so that URLs stay good.

Postgres refuses to be root. For root we map ourselves to an ordinary user in a user
namespace (no new user, no chmod, works below a closed directory), or else become
`nobody`. TCP on 127.0.0.1 only, with a random password kept in a 0600 file.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from ops.embedded import binaries
from ops.embedded.server import EmbeddedServer
from ops.embedded.supervisor import (
    POLL_SECONDS,
    EmbeddedError,
    RunAs,
    ServerProcess,
    ServerState,
    can_enter,
    choose_identity,
    choose_port,
    give_to,
    run,
    write_private,
)

USER = DATABASE = "chainfold"
PORT_ATTEMPTS = 5
ATTACH_SECONDS = 60.0
RECOVERY_SECONDS = 900.0  # replaying the log after a kill can take minutes
STOP_SECONDS = 30.0
ORPHAN_SECONDS = 5.0
SMALL_SHM_BYTES = 512 * 1024 * 1024

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "100",
    "max_locks_per_transaction": "512",  # a migration locks each table that it makes
    "fsync": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

log = logging.getLogger(__name__)


def has_data(directory: Path) -> bool:
    """Whether an embedded Postgres was ever made in a directory."""
    return (directory / "postgres" / "data" / "PG_VERSION").exists()


class EmbeddedPostgres(EmbeddedServer):
    """One Postgres server under `<directory>/postgres`."""

    name = "postgres"
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    stop_seconds = STOP_SECONDS

    def __init__(
        self,
        directory: Path | str,
        port: int | None = None,
        *,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, port)
        self._data = self._home.path / "data"
        self._settings = {**SETTINGS, **(settings or {})}

    def start(self) -> str:
        """Start the server, or attach to the one already running; return its URL."""
        self._home.create()
        with self._home.starting(RECOVERY_SECONDS):
            life = self._home.take_life()
            if life is None:
                state, life = self._attach()
                if state is not None:
                    return self._url(state)
            if life is None:
                raise EmbeddedError(self._stuck())
            try:
                return self._url(self._launch(life))
            except BaseException:
                self._end_child()
                raise
            finally:
                os.close(life)

    # Attaching -------------------------------------------------------------------

    def _attach(self) -> tuple[ServerState | None, int | None]:
        """Wait until the server answers (its state) or has ended (its life lock)."""
        begun = time.monotonic()
        while time.monotonic() < begun + ATTACH_SECONDS:
            state = self._home.read_state()
            if state is not None and self._answers(state):
                return state, None
            life = self._home.take_life()
            if life is not None:
                return None, life
            if time.monotonic() > begun + ORPHAN_SECONDS:
                self._end_orphans(state)
            time.sleep(POLL_SECONDS)
        return None, None

    def _answers(self, state: ServerState) -> bool:
        """Tell whether our server listens there; another has another password."""
        try:
            with (
                contextlib.closing(self._connect(state, DATABASE)) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("show data_directory")
                row = cursor.fetchone()
        except (psycopg2.Error, OSError):
            return False
        return row is not None and Path(row[0]) == self._data

    def _end_orphans(self, state: ServerState | None) -> None:
        """End the children of a killed postmaster; they would hold the data."""
        mine: list[int] = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(process / "cwd")) == self._data:
                    mine.append(int(process.name))
        if state is not None and state.pid not in mine:
            for pid in mine:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)

    def _stuck(self) -> str:
        state = self._home.read_state()
        pid = f"pid {state.pid}" if state else "pid unknown"
        return (
            f"a Postgres in {self._data} is alive ({pid}) but has not answered for "
            f"{ATTACH_SECONDS:.0f} s: see {self._home.log}; stop it with kill -INT, "
            f"and start again"
        )

    # Launching -------------------------------------------------------------------

    def _launch(self, life: int) -> ServerState:
        run_as = choose_identity()
        if not can_enter(self._home.path, run_as):
            raise EmbeddedError(
                f"Postgres refuses to run as root, user namespaces are forbidden here, "
                f"and the user nobody cannot enter {self._home.path}: set "
                f"CHAINFOLD_DATA_DIR to a directory whose parents anyone may enter "
                f"(say under /var/lib), or run as an ordinary user, or set "
                f"CHAINFOLD_DATABASE_URL"
            )
        programs = binaries.find_postgres(self._data)
        programs = binaries.reachable(programs, run_as, self._home.path / "binaries")
        if not (self._data / "PG_VERSION").exists():
            self._create_cluster(programs, run_as)
        give_to(self._data, run_as)
        for _ in range(PORT_ATTEMPTS):
            state = self._run_server(programs, run_as, life)
            if state is not None:
                break
        else:
            raise EmbeddedError(
                f"Postgres found no free port on 127.0.0.1:\n{self._home.last_words()}"
            )
        self._create_database(state)
        self._home.write_state(state)
        atexit.register(self.stop)
        log.info("postgres_started port=%d pid=%d", state.port, state.pid)
        return state

    def _create_cluster(self, programs: Path, run_as: RunAs) -> None:
        """Make the data directory: whole, or not at all."""
        draft = self._home.path / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        give_to(draft, run_as)
        password = self._home.path / "password"
        write_private(password, secrets.token_hex(24))
        give_to(password, run_as)
        options = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={password}"]
        options += ["-E", "UTF8", "--locale=C", "-D", str(draft)]
        answer = run([str(programs / "initdb"), *options], run_as)
        if answer.returncode != 0:
            raise EmbeddedError(
                f"initdb failed in {draft} (run as {run_as.value}):\n{answer.stdout}"
                f"Choose another CHAINFOLD_DATA_DIR, or set CHAINFOLD_DATABASE_URL"
            )
        with (draft / "postgresql.conf").open("a") as conf:
            conf.write("include 'chainfold.conf'\n")
        (draft / "chainfold.conf").touch(mode=0o600)
        give_to(draft / "chainfold.conf", run_as)
        if self._data.exists():
            self._data.rmdir()  # only an empty one: never somebody's files
        draft.replace(self._data)

    def _run_server(
        self, programs: Path, run_as: RunAs, life: int
    ) -> ServerState | None:
        """Start the server on a port; None when the port is taken."""
        port = choose_port(self._home, self._port)
        self._configure(port)
        # We hold the life lock: no process of an earlier server can be alive.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        began = self._home.log.stat().st_size if self._home.log.exists() else 0
        command = [str(programs / "postgres"), "-D", str(self._data)]
        child = ServerProcess(
            command, home=self._home, run_as=run_as, death=signal.SIGINT
        )
        child.spawn(life)
        self._child = child
        if self._wait_until_ready(child):
            return ServerState(pid=child.pid, port=port)
        if self._port is None and b"could not bind" in self._log_since(began):
            return None
        raise EmbeddedError(
            f"Postgres ended while starting; {self._home.log} ends with:\n"
            f"{self._home.last_words()}"
        )

    def _log_since(self, offset: int) -> bytes:
        with self._home.log.open("rb") as file:
            file.seek(offset)
            return file.read()

    def _configure(self, port: int) -> None:
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
        }
        shm = os.statvfs("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108
        if shm is None or shm.f_blocks * shm.f_frsize < SMALL_SHM_BYTES:
            settings["dynamic_shared_memory_type"] = "mmap"  # parallel query in Docker
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        (self._data / "chainfold.conf").write_text("".join(lines))

    def _wait_until_ready(self, child: ServerProcess) -> bool:
        """Wait for our own child to accept connections; False if it ended."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while child.running:
            with contextlib.suppress(OSError):
                lines = (self._data / "postmaster.pid").read_text().splitlines()
                ready = len(lines) >= 8 and lines[7].strip() == "ready"
                if ready and int(lines[0]) == child.pid:
                    return True
            if time.monotonic() > deadline:
                child.stop(signals=(signal.SIGINT,), patience_seconds=STOP_SECONDS)
                raise EmbeddedError(
                    f"Postgres has recovered for {RECOVERY_SECONDS:.0f} s without "
                    f"becoming ready: see {self._home.log}, then start again"
                )
            time.sleep(POLL_SECONDS)
        return False

    def _create_database(self, state: ServerState) -> None:
        with contextlib.closing(self._connect(state, "postgres")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(
                    "select 1 from pg_database where datname = %s", (DATABASE,)
                )
                if cursor.fetchone() is None:
                    cursor.execute(f"create database {DATABASE}")

    # Connecting ------------------------------------------------------------------

    def _connect(
        self, state: ServerState, database: str
    ) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1",
            port=state.port,
            user=USER,
            password=self._password(),
            dbname=database,
            connect_timeout=5,
        )

    def _password(self) -> str:
        return (self._home.path / "password").read_text().strip()

    def _url(self, state: ServerState) -> str:
        place = f"127.0.0.1:{state.port}/{DATABASE}"
        return f"postgresql+psycopg2://{USER}:{self._password()}@{place}"
