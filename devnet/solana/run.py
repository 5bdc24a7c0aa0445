"""Runs the Solana node, in its own environment, as long as this process needs it."""

from __future__ import annotations

import atexit
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devnet.process import Process
from devnet.programs import build
from devnet.rpc import Rpc, UnreachableError
from devnet.solana.environment import PACKAGE, ensure
from ops.errors import OperationError
from ops.ports import HOST, free_port, port_is_free

START_SECONDS_MAX = 20.0
START_ATTEMPTS_MAX = 3


class SolanaNodeError(OperationError):
    """The Solana development node did not start."""


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """The options of a node.

    With ``slot_ms`` 0 slots advance only by ``devnet_advance``, and the chain's time is
    its own: the same requests give the same chain. Of the slots that a clock opens,
    ``skip_share`` have no block. ``programs`` maps addresses to
    files; our own programs are always there, at the addresses of their IDLs.
    """

    slot_ms: int = 400
    skip_share: float = 0.0
    seed: int = 0
    confirmed_after: int = 1
    finalized_after: int = 32
    transaction_index: bool = True
    forgiving_cursors: bool = False
    programs: dict[str, Path] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """Return the command line, without the ports."""
        programs = dict(self.programs)
        for name in build.PROGRAMS:
            build.program(name)  # refuses a file that is not what its hash says
            programs[build.interface(name)["address"]] = build.PACKAGE / f"{name}.so"
        named = {
            "--slot-ms": self.slot_ms,
            "--skip-share": self.skip_share,
            "--seed": self.seed,
            "--confirmed-after": self.confirmed_after,
            "--finalized-after": self.finalized_after,
        }
        flags = {
            "--no-transaction-index": not self.transaction_index,
            "--forgiving-cursors": self.forgiving_cursors,
        }
        return [
            *(word for name, value in named.items() for word in (name, str(value))),
            *(name for name, wanted in flags.items() if wanted),
            *(
                word
                for address, path in programs.items()
                for word in ("--program", f"{address}={path.resolve()}")
            ),
        ]


class SolanaNode:
    """A running node. Use as a context manager, or call ``start`` and ``stop``."""

    def __init__(
        self, options: NodeOptions | None = None, *, port: int | None = None
    ) -> None:
        self.options = options or NodeOptions()
        self.port = port or 0
        self.ws_port = port + 1 if port else 0
        self._fixed_port = port is not None
        self._process: Process | None = None
        self._rpc: Rpc | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of its JSON-RPC."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The address of its subscriptions."""
        return f"ws://{HOST}:{self.ws_port}"

    @property
    def pid(self) -> int:
        """Its process id, 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it was started and still lives."""
        return self._process is not None and self._process.running

    def start(self) -> Self:
        """Start the node and return when it answers."""
        if self._process is not None:
            return self
        if self._fixed_port:
            for port in (self.port, self.ws_port):
                if not port_is_free(port):
                    raise SolanaNodeError(
                        f"port {port} is in use: stop what listens there, "
                        "or give another port"
                    )
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            # Somebody else may take a free port before the node does; then try another.
            if not self._fixed_port:
                self.port, self.ws_port = free_port(), free_port()
            try:
                self._start_once()
                break
            except SolanaNodeError:
                if self._fixed_port or attempt == START_ATTEMPTS_MAX:
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

    # Any: a JSON value whose shape the method defines.
    def rpc(self, method: str, *params: object) -> Any:
        """Call a JSON-RPC method."""
        if self._rpc is None:
            raise SolanaNodeError("the Solana node is not running: call start() first")
        return self._rpc.call(method, *params)

    def _start_once(self) -> None:
        command = [
            str(ensure("node")), "-m", "node", "--host", HOST,
            "--port", str(self.port), "--ws-port", str(self.ws_port),
            *self.options.arguments(),
        ]  # fmt: skip
        process = Process(command, SolanaNodeError, cwd=PACKAGE)
        rpc = Rpc(self.url)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                ours = "chainfold-devnet" in rpc.call("getVersion")
                break
            except UnreachableError:
                if process.running and time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                process.stop()
                raise SolanaNodeError(
                    f"the Solana node did not start on port {self.port}: "
                    f"{process.last_words() or 'it said nothing'}"
                ) from None
        if not ours or not process.running:
            process.stop()
            raise SolanaNodeError(
                f"another node answers on port {self.port}: choose another"
            )
        self._process, self._rpc = process, rpc
        atexit.register(self.stop)
