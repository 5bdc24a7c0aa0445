"""Blocks and logs of a node's answers, checked against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from db.blocks import Header
from db.facts import Int64s
from db.position import MAX_HEIGHT
from db.proofs import Proof
from indexer.errors import Contradiction, Permanent
from indexer.evm.messages import (
    Quantity,
    RpcBlock,
    RpcHeader,
    RpcLog,
    RpcSealedHeader,
    RpcTransaction,
    quantity,
    unhex,
)
from indexer.rpc.answers import RpcCall
from indexer.rpc.messages import Malformed

FILTERED_INDEX_BITS = 18  # the ordinal of filtered logs: tx_index << 18 | log_index


class Inconsistent(Contradiction):
    """Two parts of an answer contradict each other: the node is behind, or lies."""


@dataclass(frozen=True, slots=True)
class EvmBlock:
    """A checked header with its bloom and, when they were asked for, transactions."""

    header: Header
    hash_hex: str  # in lower case
    bloom: str | None
    transactions: Sequence[RpcTransaction] = ()
    receipts_root: str | None = None
    sealed: RpcSealedHeader | None = None  # all that the hash covers, if it was read

    @property
    def height(self) -> int:
        """The height of the block."""
        return self.header.height

    def with_proof(self, proof: Proof) -> "EvmBlock":
        """The block, with what is proved of it."""
        return replace(self, header=replace(self.header, proof=proof))


@dataclass(frozen=True, slots=True)
class Placed:
    """Logs in chain order, each with its place."""

    logs: Sequence[RpcLog]
    heights: Int64s
    positions: Int64s
    times: Int64s


def block_call(
    height: int, *, full: bool = False, sealed: bool = False, nullable: bool = False
) -> RpcCall:
    """Ask for the block at a height.

    `full`: with its transactions written out. `sealed`: with all that its hash covers.
    """
    kind: type[RpcHeader] = RpcBlock if full else RpcHeader
    if sealed:
        kind = RpcSealedHeader
    return RpcCall("eth_getBlockByNumber", (hex(height), full), kind, nullable)


def read_block(answer: RpcHeader, height: int | None = None) -> EvmBlock:
    """Check one block's own members; `height` is the one that was asked for."""
    if height is not None and answer.number == hex(height):
        number = height  # as nearly every node writes it
    else:
        number = quantity(answer.number)
    if (height is not None and number != height) or number > MAX_HEIGHT:
        raise Malformed(f"asked for block {height}, got {number}: ask again")
    header = Header(
        number,
        unhex(answer.hash, 32),
        unhex(answer.parent_hash, 32),
        quantity(answer.timestamp),
    )
    sealed = answer if isinstance(answer, RpcSealedHeader) else None
    transactions: Sequence[RpcTransaction] = ()
    if isinstance(answer, (RpcBlock, RpcSealedHeader)):
        transactions = [t for t in answer.transactions if not isinstance(t, str)]
    return EvmBlock(
        header,
        answer.hash.lower(),
        answer.logs_bloom,
        transactions,
        answer.receipts_root,
        sealed,
    )


def check_links(blocks: Sequence[EvmBlock]) -> None:
    """Raise Inconsistent unless each block is the parent of the next."""
    for parent, child in pairwise(blocks):
        if (
            child.header.height == parent.header.height + 1
            and child.header.parent_hash != parent.header.hash
        ):
            raise Inconsistent(
                f"block {child.header.height} is not the child of the block before "
                "it: the chain changed while it was read, read again"
            )


def place(
    logs: Sequence[RpcLog], blocks: Mapping[int, EvmBlock], *, rank: bool
) -> Placed:
    """Put logs in chain order and number them.

    With `rank` the ordinal is the rank in the block by transaction and `logIndex`,
    which is reproducible when these are all logs of their blocks, and the same whether
    a node counts `logIndex` through the block or anew in each transaction, as Polygon
    Edge before 1.0 does. Otherwise the ordinal is `tx_index << 18 | log_index`. Raises
    Inconsistent for a log that was removed, is of a block that was not asked for or has
    another hash, or is there twice.
    """
    numbers = [log.block_number for log in logs]
    for number, block_hash in set(
        zip(numbers, [log.block_hash for log in logs], strict=True)
    ):
        block = blocks.get(quantity(number))
        if block is None:
            raise Inconsistent(f"a log of block {number} was not asked for: ask again")
        if block_hash != block.hash_hex and block_hash.lower() != block.hash_hex:
            raise Inconsistent(
                f"block {number} has two hashes, in its header and in its logs: the "
                "chain changed while it was read, read again"
            )
    if any([log.removed for log in logs]):  # noqa: C419 - a list is faster
        raise Inconsistent("a log is marked as removed by a reorg: read again")
    heights = _numbers(numbers)
    transactions = _numbers([log.transaction_index for log in logs])
    indexes = _numbers([log.log_index for log in logs])
    _check_index(transactions, indexes)
    places = transactions << FILTERED_INDEX_BITS | indexes
    order = np.lexsort((places, heights))
    heights, places = heights[order], places[order]
    if (order != np.arange(len(order))).any():
        logs = [logs[i] for i in order.tolist()]
    positions = heights << 32 | places
    if len(positions) > 1 and (np.diff(positions) <= 0).any():
        raise Inconsistent("two logs have the same place in their block: read again")
    if rank:
        positions = heights << 32 | _ranks(heights)
    times = {height: block.header.time for height, block in blocks.items()}
    return Placed(logs, heights, positions, _mapped(heights, times))


class _Quantities(dict[Quantity, int]):
    """Hex quantities met so far, so that each is read once."""

    def __missing__(self, text: Quantity) -> int:
        value = self[text] = quantity(text)
        return value


def _numbers(texts: Sequence[Quantity]) -> Int64s:
    known = _Quantities()
    try:
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))
    except OverflowError:
        raise Malformed("a number in a log is beyond 64 bits: ask again") from None


def _mapped(keys: Int64s, values: Mapping[int, int]) -> Int64s:
    return np.fromiter(map(values.__getitem__, keys.tolist()), np.int64, len(keys))


def _ranks(heights: Int64s) -> Int64s:
    """0, 1, 2… within each run of equal heights."""
    count = np.arange(len(heights), dtype=np.int64)
    first = np.searchsorted(heights, heights, side="left")
    return count - first


def _check_index(transactions: Int64s, indexes: Int64s) -> None:
    if len(indexes) and (
        indexes.max() >> FILTERED_INDEX_BITS
        or transactions.max() >> (32 - FILTERED_INDEX_BITS)
    ):
        raise Permanent(
            "a block has more logs or transactions than a position holds "
            f"({1 << FILTERED_INDEX_BITS} logs, {1 << (32 - FILTERED_INDEX_BITS)} "
            "transactions): this version cannot follow the chain"
        )
