"""Check a block's logs against the bloom filter in its header.

A header's `logsBloom` is 2048 bits; each address and topic of the block's logs sets
three of them, named by its keccak-256 (Yellow Paper, 4.3.1). Equality with the bloom of
the logs received catches logs that were dropped or added, unless the very same address
and topics are in the block twice. It says nothing about data.

Not every chain writes blooms: Polygon Edge's IBFT leaves them zero, others give all
ones, null, or nothing. With `Verify.AUTO` a chain is taken for what it shows, and one
that had true blooms is not let off them (`indexer.evm.traits`).
"""

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from eth_hash.auto import keccak

from db.proofs import Verify
from indexer.evm.blocks import EvmBlock, Inconsistent, Placed
from indexer.evm.messages import RpcLog, quantity, unhex
from indexer.evm.receipts import EMPTY_ROOT
from indexer.evm.traits import BLOOM, Traits
from indexer.rpc.messages import Malformed

log = logging.getLogger(__name__)

EMPTY = "0x" + "0" * 512
FULL = "0x" + "f" * 512
NEVER_REMEDY = (
    'if the chain writes no blooms from here on, say verify_bloom = "never" in its '
    "[chains.<name>] section"
)


@lru_cache(maxsize=1 << 16)
def bits_of(item: str) -> int:
    """The bits of one address or topic, given in hex, as a 2048-bit number."""
    digest = keccak(unhex(item))
    found = 0
    for at in (0, 2, 4):
        found |= 1 << (int.from_bytes(digest[at : at + 2]) & 2047)
    return found


def bloom_of(logs: Iterable[RpcLog]) -> int:
    """The bloom of some logs as a 2048-bit number."""
    items: set[str] = set()
    for log in logs:
        items.add(log.address)
        items.update(log.topics)
    found = 0
    for item in items:
        found |= bits_of(item)
    return found


def bloom_in(text: str) -> int:
    """A header's bloom as a number."""
    return quantity(text)


def check_blooms(
    blocks: Sequence[EvmBlock],
    placed: Placed,
    *,
    exact_from: int,
    blooms: Verify,
    traits: Traits,
) -> set[int]:
    """Compare the logs of blocks with their blooms, and learn whether there are any.

    Returns the heights at which the bloom proves the logs: those from `exact_from` on,
    compared bit by bit. Of earlier ones it is only asked whether they have logs at all,
    which costs next to nothing. Raises Inconsistent when a bloom and the logs
    contradict each other, or when a chain shows none that is known, or said, to have
    them.
    """
    if blooms is Verify.NEVER:
        return set()
    heights = np.array([block.height for block in blocks], np.int64)
    lows = np.searchsorted(placed.heights, heights).tolist()
    highs = np.searchsorted(placed.heights, heights, side="right").tolist()
    full: set[int] = set()
    empty: set[int] = set()
    for block, low, high in zip(blocks, lows, highs, strict=True):
        if low == high and block.bloom == EMPTY:
            empty.add(block.height)
            continue
        positive = _positive(block, high - low)
        if positive is not None:
            _learn(positive, block, high - low, blooms, traits)
        elif traits.get(BLOOM) == "wrong":
            continue
        elif low == high:
            _require(block, not _bits(block), 0)
            empty.add(block.height)
        elif block.height >= exact_from or traits.get(BLOOM) is None:
            logs = placed.logs[low:high]
            _require(block, _bits(block) == bloom_of(logs), high - low)
            traits.learn(BLOOM, "true")
            full.add(block.height)
    # An empty bloom proves nothing where none was ever full.
    proved = full | empty if traits.get(BLOOM) == "true" else full
    return {height for height in proved if height >= exact_from}


def _positive(block: EvmBlock, logs: int) -> str | None:
    """Name the fault of a bloom that fits no logs at all; None when it may fit.

    A log sets bits, and never all. Where there are no transactions there are no logs.
    """
    if block.bloom is None or block.bloom in ("", "0x"):
        return "none"
    if block.bloom == FULL:
        return "wrong"
    if logs:
        return None if _bits(block) else "none"
    return "wrong" if _bits(block) and block.receipts_root == EMPTY_ROOT else None


def _require(block: EvmBlock, agrees: bool, logs: int) -> None:
    if not agrees:
        raise Inconsistent(
            f"block {block.height}: its bloom does not fit the {logs} logs received: "
            f"the node lost some, read again; {NEVER_REMEDY}"
        )


def _bits(block: EvmBlock) -> int:
    """The bloom as a number; 0 where there is none."""
    if not block.bloom or block.bloom in (EMPTY, "0x"):
        return 0
    bits = bloom_in(block.bloom)
    if bits.bit_length() > 2048:
        raise Malformed(f"the bloom of block {block.height} has more than 2048 bits")
    return bits


def _learn(
    positive: str, block: EvmBlock, logs: int, blooms: Verify, traits: Traits
) -> None:
    if blooms is Verify.ALWAYS or traits.get(BLOOM) == "true":
        why = "the chain had true ones before"
        if traits.get(BLOOM) != "true":
            why = 'verify_bloom = "always" asks for them'
        raise Inconsistent(
            f"block {block.height} with {logs} logs shows no true bloom, and {why}: "
            f"the node may hide logs, read again; {NEVER_REMEDY}"
        )
    if traits.learn(BLOOM, positive):
        log.warning("chain_without_blooms block=%d logs=%d", block.height, logs)
