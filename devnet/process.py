"""Runs a child process that ends when this one does.

It is forked by a thread of its own, because the kernel sends the parent-death signal
when the *thread* that forked ends. It therefore dies with this process however that
ends (on Linux; elsewhere at a regular exit).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ops.errors import OperationError

STOP_SECONDS_MAX = 5.0
_PR_SET_PDEATHSIG = 1


class Process:
    """A child process that a thread of its own forks and waits for."""

    def __init__(
        self,
        command: list[str],
        failure: type[OperationError],
        cwd: Path | None = None,
    ) -> None:
        self._command, self._cwd = command, cwd
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (kept open)
        self._forked = threading.Event()
        self._failure: OSError | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        threading.Thread(target=self._run, name="devnet", daemon=True).start()
        self._forked.wait()
        if self._failure is not None:
            raise failure(f"cannot run {command[0]}: {self._failure}")

    @property
    def pid(self) -> int:
        """Its process id, 0 before it has one."""
        return self._popen.pid if self._popen else 0

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._popen is not None and self._popen.poll() is None

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-12:])

    def stop(self) -> None:
        """End it, first politely."""
        # After a fork in Python the child must not end its parent's node.
        if self._popen is None or os.getpid() != self._owner:
            return
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _run(self) -> None:
        try:
            self._popen = subprocess.Popen(  # noqa: S603 (our own command)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=subprocess.STDOUT,
                cwd=self._cwd,
                start_new_session=True,  # Ctrl-C reaches us, who then stop it
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            self._failure = error
        finally:
            self._forked.set()
        if self._popen is not None:
            self._popen.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before exec so that it ends when its parent does."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here, not in the child: after a fork nothing should be allocated.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def die() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return die
