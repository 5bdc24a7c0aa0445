"""Surfpool, another Solana node, from npm: what our own node is compared with."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from solders.pubkey import Pubkey

from devnet.programs.build import PACKAGE
from devnet.solana import ledger
from devnet.toolchain import node_command
from helpers import npm
from helpers.npm import NpmUnavailable

HOME = Path(__file__).parents[1] / "solana" / "surfpool"
SLOT_MS = 100


class SurfpoolUnavailable(Exception):
    """Surfpool cannot run here; the message says why."""


def install() -> None:
    """Install the package that the lock names."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SurfpoolUnavailable("Surfpool's package is for Linux on x86-64 only")
    try:
        npm.install(HOME)
    except NpmUnavailable as error:
        raise SurfpoolUnavailable(str(error)) from None


@contextmanager
def surfpool() -> Iterator[str]:
    """The URL of a Surfpool with the program `ledger`, for as long as it is needed."""
    with surfpool_with_socket() as (url, _):
        yield url


@contextmanager
def surfpool_with_socket(
    slot_ms: int = SLOT_MS,
    program: Pubkey = ledger.PROGRAM,
    binary: Path = PACKAGE / "ledger.so",
) -> Iterator[tuple[str, str]]:
    """The same, with the address of its WebSocket, or with another program."""
    install()
    process = subprocess.Popen(
        [
            *node_command(), "start.cjs", str(program), str(binary), str(slot_ms),
        ],
        cwd=HOME,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SurfpoolUnavailable("Surfpool ended at its start")
        told = json.loads(line)
        yield told["rpc"], told["ws"]
    finally:
        process.stdin and process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
