"""A real Polygon Edge network: validators of version 0.9.0 on free loopback ports.

    with EdgeNetwork(validators=4) as network:
        network.wait_for_height(3)
        network.kill(1)              # SIGKILL; `start(1)` brings the node back
        network.pause(2)             # SIGSTOP: the node hangs; `go_on(2)` ends that
        network.vote(address, "auth", nodes=[0, 1, 2])
        network.wipe()               # the same genesis, another chain

The program is built from its Go module, once for a user's account, by the Go toolchain
that it needs (1.19). `edge_program()` says in words what is missing where it cannot be.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from eth_account import Account

from devnet.client import GAS_PRICE, Contract
from devnet.deploy import CALL_GAS, dev_account, dev_key
from devnet.rpc import Rpc, UnreachableError
from ops.embedded import child
from ops.ports import HOST

MODULE = "github.com/0xPolygon/polygon-edge"
VERSION = "v0.9.0"
GO = "/usr/lib/go-1.19/bin/go"
"""Where Debian's golang-1.19-go puts it. Later versions do not build this module."""

CHAIN_ID = 100
GAS_LIMIT = 30_000_000
FUNDED_ACCOUNTS = 20  # of the public development keys
START_SECONDS_MAX = 60.0


class EdgeUnavailable(Exception):
    """The program cannot be built here; the message says what to install."""


@cache
def edge_program(version: str = VERSION) -> Path:
    """The polygon-edge program, built if this account has not built it before."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = base / "chainfold" / f"polygon-edge-{version}"
    program = home / "polygon-edge"
    if program.exists():
        return program
    if not Path(GO).exists():
        raise EdgeUnavailable(
            f"polygon-edge {version} is not built and Go 1.19 is not at {GO}: install "
            "Debian's golang-1.19-go"
        )
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(version, home)
    return program


def _build(version: str, home: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "GOFLAGS"}
    with tempfile.TemporaryDirectory(dir=home) as made:
        done = subprocess.run(
            [GO, "install", f"{MODULE}@{version}"],
            env={**kept, "GOBIN": made},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EdgeUnavailable(
                f"polygon-edge {version} does not build here: {done.stderr[-500:]}"
            )
        (Path(made) / "polygon-edge").rename(home / "polygon-edge")


@dataclass
class Node:
    """One validator: its folder, its ports, and its process while it runs."""

    folder: Path
    address: str
    node_id: str
    rpc_port: int
    grpc_port: int
    p2p_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.rpc_port}"

    @property
    def rpc(self) -> Rpc:
        return Rpc(self.url)


@dataclass
class EdgeNetwork:
    """Validators of one IBFT PoA chain with ECDSA seals, for a `with` block.

    `spares` are nodes that follow without being validators: candidates for votes.
    """

    validators: int = 4
    spares: int = 0
    block_seconds: float = 1.0
    epoch: int = 100_000
    options: Sequence[str] = ()
    nodes: list[Node] = field(default_factory=list)
    folder: Path = Path()

    def __enter__(self) -> Self:
        self.program = edge_program()
        self.folder = Path(tempfile.mkdtemp(prefix="chainfold-edge-"))
        try:
            self._prepare()
            self.start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for at in range(len(self.nodes)):
            self.kill(at)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def urls(self) -> list[str]:
        """The JSON-RPC endpoints of all nodes."""
        return [node.url for node in self.nodes]

    def start_all(self) -> None:
        """Start every node and wait until each has made or heard of a block."""
        for at in range(len(self.nodes)):
            self.start(at)
        self.wait_for_height(1)

    def start(self, at: int) -> None:
        """Start one node."""
        node = self.nodes[at]
        assert node.process is None
        log = (node.folder / "node.log").open("ab")
        seals = [] if at < self.validators else ["--seal=false"]
        node.process = subprocess.Popen(
            [
                # The node dies with this process, however that ends.
                sys.executable, child.__file__, "self", "0", "0", str(os.getpid()),
                str(int(signal.SIGKILL)), self.program, "server",
                "--data-dir", node.folder / "data",
                "--chain", self.folder / "genesis.json",
                "--jsonrpc", f"{HOST}:{node.rpc_port}",
                "--grpc-address", f"{HOST}:{node.grpc_port}",
                "--libp2p", f"{HOST}:{node.p2p_port}",
                *seals, *self.options,
            ],
            cwd=node.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        log.close()

    def kill(self, at: int) -> None:
        """End one node with SIGKILL."""
        node = self.nodes[at]
        if node.process is not None:
            node.process.send_signal(signal.SIGKILL)
            node.process.wait()
            node.process = None

    def pause(self, at: int) -> None:
        """Let one node hang: its sockets stay open and nothing answers."""
        process = self.nodes[at].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)

    def go_on(self, at: int) -> None:
        """End `pause`."""
        process = self.nodes[at].process
        assert process is not None
        process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Stop all nodes, forget every block, start the same genesis again."""
        for at, node in enumerate(self.nodes):
            self.kill(at)
            shutil.rmtree(node.folder / "data" / "blockchain", ignore_errors=True)
            shutil.rmtree(node.folder / "data" / "trie", ignore_errors=True)
        self.start_all()

    def height(self, at: int = 0) -> int:
        """The head of one node."""
        return int(self.nodes[at].rpc.call("eth_blockNumber"), 16)

    def wait_for_height(self, height: int, nodes: Sequence[int] | None = None) -> None:
        """Wait until these nodes (all that run) have the block."""
        for at in self._running() if nodes is None else nodes:
            wait_until(
                lambda at=at: self.height(at) >= height,
                f"node {at} has no block {height}: {self._tail(at)}",
            )

    def block(self, height: int, at: int = 0, *, full: bool = True) -> dict[str, Any]:
        """One block as a node tells it."""
        found: dict[str, Any] = self.nodes[at].rpc.call(
            "eth_getBlockByNumber", hex(height), full
        )
        return found

    def vote(self, address: str, change: str, nodes: Sequence[int]) -> None:
        """Let validators vote: `change` is "auth" or "drop"."""
        for at in nodes:
            self._run(
                "ibft", "propose", "--addr", address, "--vote", change,
                "--grpc-address", f"{HOST}:{self.nodes[at].grpc_port}",
            )  # fmt: skip

    def _running(self) -> list[int]:
        return [at for at, node in enumerate(self.nodes) if node.process is not None]

    def _prepare(self) -> None:
        ports = iter(_free_ports(3 * (self.validators + self.spares)))
        for at in range(self.validators + self.spares):
            folder = self.folder / f"node{at + 1}"
            secrets = json.loads(
                self._run(
                    "secrets", "init", "--insecure", "--json",
                    "--data-dir", folder / "data",
                )
            )[0]  # fmt: skip
            self.nodes.append(
                Node(
                    folder, secrets["address"], secrets["node_id"],
                    next(ports), next(ports), next(ports),
                )
            )  # fmt: skip
        first = self.nodes[0]
        named = {
            "--consensus": "ibft",
            "--ibft-validator-type": "ecdsa",
            "--block-time": f"{round(self.block_seconds * 1000)}ms",
            "--block-gas-limit": GAS_LIMIT,
            "--chain-id": CHAIN_ID,
            "--epoch-size": self.epoch,
            "--bootnode": f"/ip4/{HOST}/tcp/{first.p2p_port}/p2p/{first.node_id}",
            "--dir": self.folder / "genesis.json",
        }
        arguments = [str(part) for pair in named.items() for part in pair]
        for node in self.nodes[: self.validators]:
            arguments += ["--ibft-validator", node.address]
        for at in range(FUNDED_ACCOUNTS):
            arguments += ["--premine", f"{dev_account(at)}:{hex(10**24 + at)}"]
        self._run("genesis", *arguments)

    def _run(self, *arguments: object) -> str:
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{arguments[:2]}: {done.stdout}{done.stderr}")
        return done.stdout

    def _tail(self, at: int) -> str:
        log = self.nodes[at].folder / "node.log"
        return log.read_text(errors="replace")[-1500:] if log.exists() else "no log"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def wait_until(
    met: Callable[[], bool], what: str, seconds: float = START_SECONDS_MAX
) -> None:
    """Poll until a condition is met; fail with `what` after a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(UnreachableError):
            if met():
                return
        time.sleep(0.1)
    raise AssertionError(what)


@dataclass
class Sender:
    """One of the funded development accounts, signing legacy transactions itself."""

    index: int
    rpc: Rpc
    nonce: int = -1

    def __post_init__(self) -> None:
        self.address = dev_account(self.index)
        self.nonce = int(
            self.rpc.call("eth_getTransactionCount", self.address, "latest"), 16
        )

    def sign(self, to: Contract, function: str, *args: object) -> str:
        """A call of a contract under the next nonce, signed and not sent."""
        data = to.interface.encode_call(function, *args)
        signed = Account.sign_transaction(
            {
                "nonce": self.nonce, "gasPrice": GAS_PRICE, "gas": CALL_GAS,
                "value": 0, "data": data, "chainId": CHAIN_ID,
                "to": bytes.fromhex(to.address.removeprefix("0x")),
            },
            dev_key(self.index),
        )  # fmt: skip
        self.nonce += 1
        return "0x" + bytes(signed.raw_transaction).hex()

    def send(self, to: Contract, function: str, *args: object) -> str:
        """Send a call without waiting for it; returns the transaction's hash."""
        (sent,) = send_all(self.rpc, [self.sign(to, function, *args)])
        return sent


def send_all(rpc: Rpc, signed: Sequence[str]) -> list[str]:
    """Send signed transactions in as few requests as the node takes; their hashes."""
    return rpc.batch([("eth_sendRawTransaction", [each]) for each in signed])


def receipts_of(rpc: Rpc, hashes: Sequence[str]) -> list[dict[str, Any]]:
    """The receipts of transactions, once all of them are in blocks."""
    found: dict[str, dict[str, Any]] = {}

    def all_there() -> bool:
        missing = [each for each in hashes if each not in found]
        answers = rpc.batch([("eth_getTransactionReceipt", [h]) for h in missing])
        found.update({h: a for h, a in zip(missing, answers, strict=True) if a})
        return len(found) == len(set(hashes))

    wait_until(all_there, "some transactions never came into a block")
    return [found[each] for each in hashes]
