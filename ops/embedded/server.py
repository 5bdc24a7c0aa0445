"""A server in a directory, started by the first process that asks for it."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ops.embedded.startable import Startable
from ops.embedded.supervisor import Home, ServerProcess


class EmbeddedServer(Startable[str]):
    """One server under `<directory>/<name>`; `start` returns its URL."""

    name: ClassVar[str]
    stop_signals: ClassVar[Sequence[signal.Signals]]
    stop_seconds: ClassVar[float]

    def __init__(self, directory: Path | str, port: int | None = None) -> None:
        self._home = Home(Path(directory).absolute() / self.name)
        self._port = port
        self._child: ServerProcess | None = None

    def stop(self) -> None:
        """Shut the server down if this object started it; else do nothing."""
        child = self._child
        if child is None or child.owner_pid != os.getpid():
            return
        atexit.unregister(self.stop)
        if not self._home.path.exists():
            self._end_child()
            return
        with self._home.starting(self.stop_seconds * 3):
            self._end_child()

    @property
    def owner(self) -> bool:
        """Whether this object started the server that runs now."""
        return self._child is not None and self._child.running

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.stop(
                signals=self.stop_signals, patience_seconds=self.stop_seconds
            )
        self._child = None
