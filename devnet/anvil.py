"""Runs anvil, a local EVM node, for as long as this process needs it."""

from __future__ import annotations

import atexit
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from devnet.process import Process
from devnet.rpc import Rpc, UnreachableError
from devnet.toolchain import anvil_path
from ops.errors import OperationError
from ops.ports import HOST, free_port, port_is_free

MNEMONIC = "test test test test test test test test test test test junk"
"""Public, known to everybody, worth nothing: for development chains only."""

GENESIS_TIMESTAMP = 1_767_571_200
"""2026-01-05 00:00 UTC: where a reproducible chain begins."""

BLOCK_SECONDS = 2
"""Between blocks of a reproducible chain, as on Polygon Edge."""

START_SECONDS_MAX = 20.0
START_ATTEMPTS_MAX = 3


class AnvilError(OperationError):
    """The development node did not start."""


@dataclass(frozen=True, slots=True)
class AnvilOptions:
    """The options of a node.

    Without ``block_time`` every transaction is mined at once. With ``timestamp``
    the chain's clock is its own: it starts there and each block is two seconds later,
    so that the same transactions give the same chain. Without ``history`` only the
    newest state is kept: a long-lived chain stays small (a tenth, after some hundred
    full blocks), and can not be reorganised or read as of an older block.
    """

    chain_id: int = 31337
    block_time: float | None = None
    accounts: int = 20
    balance: int = 1_000_000_000
    hardfork: str = "paris"
    timestamp: int | None = None
    gas_limit: int = 30_000_000
    order: str = "fifo"
    history: bool = True

    def arguments(self, port: int) -> list[str]:
        """Return the command line, without the program."""
        named = {
            "--host": HOST,
            "--port": port,
            "--chain-id": self.chain_id,
            "--accounts": self.accounts,
            "--balance": self.balance,
            "--mnemonic": MNEMONIC,
            "--hardfork": self.hardfork,
            "--gas-limit": self.gas_limit,
            "--order": self.order,
            "--block-base-fee-per-gas": 0,
            "--block-time": self.block_time,
            "--timestamp": self.timestamp,
        }
        given = [(k, str(v)) for k, v in named.items() if v is not None]
        flags = ["--silent"] if self.history else ["--silent", "--prune-history"]
        return [*flags, *(word for pair in given for word in pair)]


class Anvil:
    """A running node. Use as a context manager, or call ``start`` and ``stop``."""

    def __init__(
        self, options: AnvilOptions | None = None, *, port: int | None = None
    ) -> None:
        self.options = options or AnvilOptions()
        self.port = port or 0
        self._fixed_port = port is not None
        self._process: Process | None = None
        self._rpc: Rpc | None = None
        self._reorgs = 0

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
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise AnvilError("anvil is not running: call start() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and still lives."""
        return self._process is not None and self._process.running

    def start(self) -> Self:
        """Start the node and return when it answers."""
        if self._process is not None:
            return self
        if self._fixed_port and not port_is_free(self.port):
            raise AnvilError(
                f"port {self.port} is in use: stop what listens there, "
                "or give another port"
            )
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            # Somebody else may take a free port before anvil does; then try another.
            if not self._fixed_port:
                self.port = free_port()
            try:
                self._start_once()
                break
            except AnvilError:
                if self._fixed_port or attempt == START_ATTEMPTS_MAX:
                    raise
        if self.options.timestamp is not None and self.options.block_time is None:
            self.rpc("anvil_setBlockTimestampInterval", BLOCK_SECONDS)
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
            raise AnvilError("anvil is not running: call start() first")
        return self._rpc

    # Any: a JSON value whose shape the method defines.
    def rpc(self, method: str, *params: object) -> Any:
        """Call a JSON-RPC method."""
        return self.client.call(method, *params)

    @property
    def height(self) -> int:
        """The number of the newest block."""
        return int(self.rpc("eth_blockNumber"), 16)

    @property
    def time(self) -> int:
        """The timestamp of the newest block."""
        block = self.rpc("eth_getBlockByNumber", "latest", False)
        return int(block["timestamp"], 16)

    def mine(self, blocks: int = 1) -> None:
        """Add blocks, empty but for what is pending."""
        self.rpc("anvil_mine", hex(blocks))

    def reorg(self, depth: int) -> None:
        """Replace the newest blocks by as many empty ones with other hashes."""
        if not self.options.history:
            raise AnvilError("a chain without history can not be reorganised")
        # On a chain with its own clock an empty block replaced would come out the
        # same; under another miner it can not.
        self._reorgs += 1
        self.rpc("anvil_setCoinbase", f"0x{self._reorgs:040x}")
        self.rpc("anvil_reorg", depth, [])

    def snapshot(self) -> str:
        """Remember the whole state; pass the result to ``revert``, once."""
        name: str = self.rpc("evm_snapshot")
        return name

    def revert(self, snapshot: str) -> None:
        """Return to a remembered state."""
        if not self.rpc("evm_revert", snapshot):
            raise AnvilError(f"snapshot {snapshot} is unknown: each can be used once")

    def set_time(self, timestamp: int) -> None:
        """Mine a block at a later time; the chain goes on from there."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)
        self.mine()

    def _start_once(self) -> None:
        command = [str(anvil_path()), *self.options.arguments(self.port)]
        process = Process(command, AnvilError)
        rpc = Rpc(self.url)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                answered = int(rpc.call("eth_chainId"), 16)
                break
            except UnreachableError:
                if process.running and time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                process.stop()
                raise AnvilError(
                    f"anvil did not start on port {self.port}: "
                    f"{process.last_words() or 'it said nothing'}"
                ) from None
        if answered != self.options.chain_id or not process.running:
            process.stop()
            raise AnvilError(
                f"another node answers on port {self.port}: choose another"
            )
        self._process, self._rpc = process, rpc
        atexit.register(self.stop)
