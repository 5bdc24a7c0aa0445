"""Runs the Solana node, in its own environment, as long as this process needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from devnet.node import DevelopmentNode
from devnet.programs import build
from devnet.rpc import Rpc
from devnet.solana.environment import PACKAGE, ensure
from ops.errors import OperationError
from ops.ports import HOST


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


class SolanaNode(DevelopmentNode):
    """A running node. Use as a context manager, or call ``start`` and ``stop``."""

    title = "the Solana node"
    failure = SolanaNodeError
    port_count = 2  # JSON-RPC, and subscriptions
    cwd = PACKAGE

    def __init__(
        self, options: NodeOptions | None = None, *, port: int | None = None
    ) -> None:
        super().__init__(port)
        self.options = options or NodeOptions()

    def __enter__(self) -> Self:
        return self.start()

    def command(self) -> list[str]:
        """Return the node's command line, in its own environment."""
        return [
            str(ensure("node")), "-m", "node", "--host", HOST,
            "--port", str(self.port), "--ws-port", str(self.ws_port),
            *self.options.arguments(),
        ]  # fmt: skip

    def is_ours(self, rpc: Rpc) -> bool:
        """Whether the node names itself as ours do."""
        return "chainfold-devnet" in rpc.call("getVersion")

    @property
    def ws_port(self) -> int:
        """The port of its subscriptions."""
        return self.ports[1]

    @property
    def ws_url(self) -> str:
        """The address of its subscriptions."""
        return f"ws://{HOST}:{self.ws_port}"
