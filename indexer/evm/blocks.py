"""Blocks and logs as a node tells them, checked against each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from db.blocks import Header
from db.facts import Int64s
from db.position import MAX_HEIGHT
from indexer.errors import Permanent, Retryable
from indexer.evm.answers import Call
from indexer.evm.bloom import EMPTY, bloom_in, bloom_of
from indexer.evm.messages import (
    Malformed,
    RpcBlock,
    RpcHeader,
    RpcLog,
    RpcTransaction,
    quantity,
    unhex,
)

FILTERED_INDEX_BITS = 18  # the ordinal of filtered logs: tx_index << 18 | log_index


class Inconsistent(Retryable):
    """Two parts of an answer contradict each other: the node is behind, or lies."""


@dataclass(frozen=True, slots=True)
class Block:
    """A checked header with its bloom and, when they were asked for, transactions."""

    header: Header
    hash_hex: str  # in lower case
    bloom: str
    transactions: Sequence[RpcTransaction] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """Logs in chain order, each with its place."""

    logs: Sequence[RpcLog]
    heights: Int64s
    positions: Int64s
    times: Int64s


def block_call(height: int, *, full: bool = False, nullable: bool = False) -> Call:
    """Ask for the block at a height."""
    kind = RpcBlock if full else RpcHeader
    return Call("eth_getBlockByNumber", (hex(height), full), kind, nullable)


def read_block(answer: RpcHeader, height: int | None = None) -> Block:
    """Check one block's own members; `height` is the one that was asked for."""
    number = quantity(answer.number)
    if (height is not None and number != height) or number > MAX_HEIGHT:
        raise Malformed(f"asked for block {height}, got {number}: ask again")
    header = Header(
        number,
        unhex(answer.hash, 32),
        unhex(answer.parent_hash, 32),
        quantity(answer.timestamp),
    )
    transactions = answer.transactions if isinstance(answer, RpcBlock) else ()
    return Block(header, answer.hash.lower(), answer.logs_bloom, transactions)


def check_links(blocks: Sequence[Block]) -> None:
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


def place(logs: Sequence[RpcLog], blocks: Mapping[int, Block], *, rank: bool) -> Placed:
    """Put logs in chain order and number them.

    With `rank` the ordinal is the rank in the block in node order, sorted stably by
    transaction, which is reproducible when these are all logs of their blocks;
    `logIndex` is not read, since it starts again in each transaction on Polygon Edge
    before 1.0. Otherwise the ordinal is `tx_index << 18 | log_index`. Raises
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
    if rank:
        order = np.lexsort((transactions, heights))
        heights = heights[order]
        ordinals = _ranks(heights)
    else:
        indexes = _numbers([log.log_index for log in logs])
        _check_index(transactions, indexes)
        ordinals = transactions << FILTERED_INDEX_BITS | indexes
        order = np.lexsort((ordinals, heights))
        heights, ordinals = heights[order], ordinals[order]
    if (order != np.arange(len(order))).any():
        logs = [logs[i] for i in order.tolist()]
    positions = heights << 32 | ordinals
    if len(positions) > 1 and (np.diff(positions) <= 0).any():
        raise Inconsistent("two logs have the same place in their block: read again")
    times = {height: block.header.time for height, block in blocks.items()}
    return Placed(logs, heights, positions, _mapped(heights, times))


def check_bloom(blocks: Iterable[Block], placed: Placed, *, exact_from: int) -> None:
    """Raise Inconsistent when a block's logs are not those its bloom announces.

    Blocks from `exact_from` on are compared bit by bit; of earlier ones it is only
    asked whether they have logs at all, which costs nothing.
    """
    for block in blocks:
        height = block.header.height
        low, high = np.searchsorted(placed.heights, (height, height + 1))
        if high == low or height < exact_from:
            agrees = (block.bloom == EMPTY) == bool(high == low)
        else:
            agrees = bloom_in(block.bloom) == bloom_of(placed.logs[low:high])
        if not agrees:
            raise Inconsistent(
                f"block {height}: its bloom does not fit the {high - low} logs "
                "received: the node lost some, read again "
                '(verify_bloom = "never" if the chain has no blooms)'
            )


class _Quantities(dict[str, int]):
    """Hex quantities met so far, so that each is read once."""

    def __missing__(self, text: str) -> int:
        value = self[text] = quantity(text)
        return value


def _numbers(texts: Sequence[str]) -> Int64s:
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
            "a block has more logs or transactions than a filtered position holds: "
            'set mode = "all"'
        )
