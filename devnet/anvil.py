"""Runs anvil, a local EVM node, for as long as this process needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from devnet.node import DevelopmentNode
from devnet.rpc import Rpc
from devnet.toolchain import anvil_path
from ops.errors import OperationError
from ops.ports import HOST

MNEMONIC = "test test test test test test test test test test test junk"
"""Public, known to everybody, worth nothing: for development chains only."""

GENESIS_TIMESTAMP = 1_767_571_200
"""2026-01-05 00:00 UTC: where a reproducible chain begins."""

BLOCK_SECONDS = 2
"""Between blocks of a reproducible chain, as on Polygon Edge."""


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


class Anvil(DevelopmentNode):
    """A running node. Use as a context manager, or call ``start`` and ``stop``."""

    title = "anvil"
    failure = AnvilError

    def __init__(
        self, options: AnvilOptions | None = None, *, port: int | None = None
    ) -> None:
        super().__init__(port)
        self.options = options or AnvilOptions()
        self._reorgs = 0

    def __enter__(self) -> Self:
        return self.start()

    def command(self) -> list[str]:
        """Return anvil's command line."""
        return [str(anvil_path()), *self.options.arguments(self.port)]

    def is_ours(self, rpc: Rpc) -> bool:
        """Whether the chain has our id."""
        return int(rpc.call("eth_chainId"), 16) == self.options.chain_id

    def start(self) -> Self:
        """Start the node and return when it answers."""
        started = self.running
        super().start()
        own_clock = self.options.timestamp is not None
        if not started and own_clock and self.options.block_time is None:
            self.rpc("anvil_setBlockTimestampInterval", BLOCK_SECONDS)
        return self

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
