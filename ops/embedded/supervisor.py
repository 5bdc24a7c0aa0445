"""Keeps one server process alive exactly as long as the process that started it.

A server has a home directory, and in it::

    start.lock   held while somebody starts or stops the server: starters queue here
    alive.lock   opened by us, inherited by the server and all its children, so the
                 kernel holds it exactly while one of them lives. No pid is trusted:
                 pids are reused, zombies keep them, containers renumber them.
    state.json   where the server listens; written when it is ready
    log          what it printed

The parent-death signal fires when the *thread* that forked ends, so every child is
forked by a thread of its own which then waits for it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import functools
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.ports import free_port, port_is_free

CHILD = Path(__file__).with_name("child.py")
POLL_SECONDS = 0.02
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_LINES_SHOWN = 12


class EmbeddedError(RuntimeError):
    """An embedded server cannot run here."""


class RunAs(enum.Enum):
    """The user and group that a child runs as."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class ServerState:
    """The addresses at which a running server listens."""

    pid: int
    port: int


class Home:
    """A server's directory: its locks, its state and its log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state.json"
        self.log = path / "log"

    def create(self) -> None:
        """Make the directory; others may pass through it but not list it."""
        try:
            for directory in (self.path.parent, self.path):
                if not directory.exists():
                    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise EmbeddedError(
                f"{self.path} cannot be made or written to: {error.strerror}. Set "
                "data_dir in chainfold.toml (or CHAINFOLD_DATA_DIR) to a directory "
                "where this user may write"
            ) from error

    @contextlib.contextmanager
    def starting(self, timeout_seconds: float) -> Iterator[None]:
        """Hold the right to start or stop the server."""
        lock = os.open(self.path / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + timeout_seconds
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"another process has been starting or stopping the server in "
                        f"{self.path} for {timeout_seconds:.0f} s: see {self.log}, "
                        f"end that process and try again"
                    )
                time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(lock)

    def take_life(self) -> int | None:
        """Return the open life lock, or None while any server process lives."""
        lock = os.open(self.path / "alive.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if _try_lock(lock):
            return lock
        os.close(lock)
        return None

    def alive(self) -> bool:
        """Tell whether any process of the server lives."""
        lock = self.take_life()
        if lock is None:
            return True
        os.close(lock)
        return False

    def read_state(self) -> ServerState | None:
        """Return where the last server listened; None when it is unknown."""
        try:
            return ServerState(**json.loads(self.state.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write_state(self, state: ServerState) -> None:
        """Publish where the server listens."""
        write_private(self.state, json.dumps(asdict(state)))

    def last_words(self) -> str:
        """Return the end of the log, for an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])


class ServerProcess:
    """A server process that ends when this process does."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        home: Home,
        run_as: RunAs,
        death: signal.Signals,
    ) -> None:
        self._command = child_command(command, run_as, death)
        self._home = home
        self._spawned = threading.Event()
        self._failure: OSError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.owner_pid = os.getpid()

    def spawn(self, life: int) -> None:
        """Start the process, handing it the life lock."""
        if self._home.log.exists() and self._home.log.stat().st_size > LOG_BYTES_MAX:
            self._home.log.replace(self._home.log.with_suffix(".old"))
        threading.Thread(
            target=self._run, args=(life,), name="embedded-server", daemon=True
        ).start()
        self._spawned.wait()
        if self._failure is not None:
            raise EmbeddedError(f"cannot start {self._command}: {self._failure}")

    def _run(self, life: int) -> None:
        try:
            log = os.open(self._home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with open(log, "wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - no shell
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(life,),
                    cwd="/",
                    start_new_session=True,  # Ctrl-C reaches us, not the server
                )
        except OSError as error:
            self._failure = error
        finally:
            self._spawned.set()
        if self._process is not None:
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise EmbeddedError("the server was not spawned")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives and is ours to stop."""
        return (
            os.getpid() == self.owner_pid
            and self._process is not None
            and self._process.poll() is None
        )

    def stop(
        self, *, signals: Sequence[signal.Signals], patience_seconds: float
    ) -> None:
        """Send each signal in turn until the process is gone."""
        for number in signals:
            if not self.running or self._process is None:
                return
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_seconds)


def child_command(
    command: Sequence[str], run_as: RunAs, death: signal.Signals
) -> list[str]:
    """Return the command wrapped so that it dies with this process."""
    uid, gid = unprivileged_user()
    identity = [run_as.value, str(uid), str(gid)]
    life = [str(os.getpid()), str(int(death))]
    return [sys.executable, "-I", "-S", str(CHILD), *identity, *life, *command]


def run(
    command: Sequence[str], run_as: RunAs, *, timeout_seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a short program with a child's rights and return its output."""
    return subprocess.run(  # noqa: S603 - our own binaries, no shell
        child_command(command, run_as, signal.SIGTERM),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        check=False,
        timeout=timeout_seconds,
    )


def choose_identity() -> RunAs:
    """Return how to run a program that refuses to be root."""
    if os.geteuid() != 0:
        return RunAs.SELF
    return RunAs.NAMESPACE if namespaces_work() else RunAs.NOBODY


@functools.cache
def namespaces_work() -> bool:
    """Tell whether this kernel and container let us make a user namespace."""
    true = shutil.which("true")
    return true is not None and run([true], RunAs.NAMESPACE).returncode == 0


def can_enter(directory: Path, run_as: RunAs) -> bool:
    """Tell whether a child may use files in a directory; asked by trying."""
    if run_as is not RunAs.NOBODY:
        return True
    ls = shutil.which("ls") or "/bin/ls"
    return run([ls, "-d", f"{directory}/."], run_as).returncode == 0


@functools.cache
def unprivileged_user() -> tuple[int, int]:
    """Return a user that exists and is not root; programs look its name up."""
    entries = sorted(pwd.getpwall(), key=lambda entry: entry.pw_name != "nobody")
    for entry in entries:
        if entry.pw_uid != 0:
            return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def give_to(path: Path, run_as: RunAs) -> None:
    """Make the tree belong to the user a child runs as."""
    if os.geteuid() != 0:
        return
    uid, gid = unprivileged_user() if run_as is RunAs.NOBODY else (0, os.getegid())
    if path.stat().st_uid == uid:
        return
    os.chown(path, uid, gid)
    for entry in path.rglob("*"):
        os.chown(entry, uid, gid, follow_symlinks=False)


def choose_port(home: Home, wanted: int | None) -> int:
    """Return the wanted port, else the last used (URLs stay good), else a free one."""
    if wanted is not None:
        return wanted
    last = home.read_state()
    if last is not None and port_is_free(last.port):
        return last.port
    return free_port()


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody else may read it."""
    draft = path.with_name(path.name + ".new")
    with open(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
    ) as file:
        file.write(text)
    draft.replace(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
