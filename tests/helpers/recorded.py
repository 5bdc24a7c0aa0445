"""Blocks, receipts and logs as real Polygon Edge nodes told them, recorded once.

`vectors(version)` are blocks with the values that an independent implementation
computed from them. `votes(n)` are all headers of a chain of n validators on which one
candidate was voted in and one validator out (on the chain of four, epochs have ten
blocks, and the first votes lapsed).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from indexer.evm.blocks import EvmBlock, read_block
from indexer.evm.messages import RpcLog, RpcSealedHeader, RpcWholeReceipt

FOLDER = Path(__file__).parents[1] / "indexer" / "evm" / "fixtures"
VERSIONS = ("v063_ecdsa", "v090_ecdsa", "v131_bls")


@cache
def recorded(name: str) -> Any:
    """A recorded answer, without the envelope of JSON-RPC."""
    found = json.loads((FOLDER / f"{name}.json").read_text())
    return found["result"] if isinstance(found, dict) and "result" in found else found


def vectors(version: str) -> list[dict[str, Any]]:
    return recorded(f"{version}_vectors")


def votes(validators: int) -> list[EvmBlock]:
    return [block_of(header) for header in recorded(f"v090_votes_{validators}")]


def header_of(block: dict[str, Any]) -> RpcSealedHeader:
    return msgspec.convert(block, RpcSealedHeader)


def block_of(block: dict[str, Any]) -> EvmBlock:
    return read_block(header_of(block))


def receipts_of(answers: list[dict[str, Any]]) -> list[RpcWholeReceipt]:
    return msgspec.convert(answers, list[RpcWholeReceipt])


def receipts(name: str = "v090_receipts_81") -> list[RpcWholeReceipt]:
    return receipts_of(recorded(name))


def logs(name: str = "v090_logs_81") -> list[RpcLog]:
    return msgspec.convert(recorded(name), list[RpcLog])
