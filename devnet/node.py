"""A development node in a child process, for as long as this process needs it."""

from __future__ import annotations

import atexit
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from devnet.process import Process
from devnet.rpc import Rpc, UnreachableError
from ops.embedded.startable import Startable
from ops.errors import OperationError
from ops.ports import HOST, free_port, port_is_free

START_SECONDS_MAX = 20.0
START_ATTEMPTS_MAX = 3


class DevelopmentNode(Startable[Any]):
    """A node that is started on a free port, or on one that is given.

    `ports` are as many as the node listens on, the JSON-RPC port first.
    """

    title: ClassVar[str]  # in messages
    failure: ClassVar[type[OperationError]]
    port_count: ClassVar[int] = 1
    cwd: ClassVar[Path | None] = None

    def __init__(self, port: int | None = None) -> None:
        self.ports = [port + n if port else 0 for n in range(self.port_count)]
        self._fixed = port is not None
        self._process: Process | None = None
        self._rpc: Rpc | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that listens on `ports`."""

    @abstractmethod
    def is_ours(self, rpc: Rpc) -> bool:
        """Whether the node that answers is this one."""

    @property
    def port(self) -> int:
        """The port of its JSON-RPC."""
        return self.ports[0]

    @property
    def url(self) -> str:
        """The address of its JSON-RPC."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise self.failure(f"{self.title} is not running: call start() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and still lives."""
        return self._process is not None and self._process.running

    def start(self) -> Self:
        """Start the node and return when it answers."""
        if self._process is not None:
            return self
        for port in self.ports if self._fixed else ():
            if not port_is_free(port):
                raise self.failure(
                    f"port {port} is in use: stop what listens there, "
                    "or give another port"
                )
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            # Another process may take a free port before the node does: retry then.
            if not self._fixed:
                self.ports = [free_port() for _ in self.ports]
            try:
                self._start_once()
                break
            except self.failure:
                if self._fixed or attempt == START_ATTEMPTS_MAX:
                    raise
        return self

    def stop(self) -> None:
        """End the node, if it runs."""
        process, self._process = self._process, None
        if self._rpc is not None:
            self._rpc.close()
            self._rpc = None
        if process is not None:
            process.stop()
            atexit.unregister(self.stop)

    @property
    def client(self) -> Rpc:
        """A connection to the node."""
        if self._rpc is None:
            raise self.failure(f"{self.title} is not running: call start() first")
        return self._rpc

    # Any: a JSON value whose shape the method defines.
    def rpc(self, method: str, *params: object) -> Any:
        """Call a JSON-RPC method."""
        return self.client.call(method, *params)

    def _start_once(self) -> None:
        process = Process(self.command(), self.failure, cwd=self.cwd)
        rpc = Rpc(self.url)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                ours = self.is_ours(rpc)
                break
            except UnreachableError:
                if process.running and time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                process.stop()
                raise self.failure(
                    f"{self.title} did not start on port {self.port}: "
                    f"{process.last_words() or 'it wrote nothing'}"
                ) from None
        if not ours or not process.running:
            process.stop()
            raise self.failure(
                f"another node answers on port {self.port}: choose another"
            )
        self._process, self._rpc = process, rpc
        atexit.register(self.stop)
