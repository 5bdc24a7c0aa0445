"""Normalise `logIndex` to the chain's known way of counting.

Polygon Edge before 1.0 counts logs anew in each transaction, later versions and all
others through the block. With filtered logs the index is part of a fact's position, so
a chain keeps the way that it showed first (trait `log_index`), and the answers of nodes
that count otherwise are converted: by the number of logs that earlier transactions of
the block have, which takes the logs of the whole block.

A block tells how a node counts when two of its transactions have logs. Where only the
first transaction has, both ways give the same number, and nothing needs to be known.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from indexer.evm.blocks import Inconsistent
from indexer.evm.client import RpcClient
from indexer.evm.messages import RpcLog, quantity
from indexer.evm.traits import LOG_INDEX, Traits
from indexer.rpc.answers import RpcCall
from indexer.rpc.endpoint import Endpoint
from indexer.rpc.messages import Malformed

BY_BLOCK: Final = "block"
BY_TRANSACTION: Final = "transaction"


class Numbering:
    """Converts `logIndex` to the way of counting that a chain keeps."""

    def __init__(self, client: RpcClient, traits: Traits) -> None:
        self._client = client
        self._traits = traits

    async def normalise(self, logs: Sequence[RpcLog], endpoint: Endpoint) -> None:
        """Change the logs of one answer in place, where its node counts otherwise."""
        if endpoint.log_index is not None and endpoint.log_index == self._kept:
            return
        blocks = _undecided(logs)
        if not blocks:
            return
        for height, found in blocks.items():
            _check_one_block(height, found, found[0].block_hash)
        way = next(filter(None, map(_restarts, blocks.values())), endpoint.log_index)
        if way is None:
            way = await self._way_of(endpoint, blocks)
        if way is None:
            return  # in none of these blocks it makes a difference
        endpoint.log_index = way
        self._traits.learn(LOG_INDEX, way)
        kept = self._kept
        if way == kept:
            return
        for height, found in blocks.items():
            earlier = _earlier(await self._whole(endpoint, height, found))
            for log in found:
                index, before = quantity(log.log_index), _before(log, earlier)
                index += before if kept == BY_BLOCK else -before
                if index < 0:
                    endpoint.log_index = None
                    raise Malformed(
                        f"{endpoint.label} counts logs of block {height} in two ways: "
                        "ask again"
                    )
                log.log_index = hex(index)

    @property
    def _kept(self) -> str | None:
        return self._traits.get(LOG_INDEX)

    async def _way_of(
        self, endpoint: Endpoint, blocks: Mapping[int, Sequence[RpcLog]]
    ) -> str | None:
        """Read whole blocks until one shows how the endpoint counts logs."""
        for height, found in blocks.items():
            way = counted_by(await self._whole(endpoint, height, found))
            if way is not None:
                return way
        return None

    async def _whole(
        self, endpoint: Endpoint, height: int, found: Sequence[RpcLog]
    ) -> list[RpcLog]:
        """Every log of the block that some logs are of."""
        logs: list[RpcLog] = await self._client.ask(endpoint, whole_block_call(height))
        _check_one_block(height, logs, found[0].block_hash)
        return logs


def _check_one_block(height: int, logs: Iterable[RpcLog], block_hash: str) -> None:
    """Raise Inconsistent unless logs are of one block, each at a place of its own."""
    places = set()
    for log in logs:
        place = (quantity(log.transaction_index), quantity(log.log_index))
        is_there = log.block_hash.lower() == block_hash.lower()
        if quantity(log.block_number) != height or not is_there or place in places:
            raise Inconsistent(
                f"among the logs of block {height} are some of another, or one is "
                "there twice: read again"
            )
        places.add(place)


def whole_block_call(height: int) -> RpcCall:
    """Ask for every log of a block."""
    query: dict[str, Any] = {"fromBlock": hex(height), "toBlock": hex(height)}
    return RpcCall("eth_getLogs", (query,), list[RpcLog], span=1)


def counted_by(whole: Iterable[RpcLog]) -> str | None:
    """Tell from all logs of a block how `logIndex` counts; None when they do not."""
    firsts: dict[int, int] = {}
    for log in whole:
        at, index = quantity(log.transaction_index), quantity(log.log_index)
        firsts[at] = min(index, firsts.get(at, index))
    if len(firsts) < 2:
        return None
    second = firsts[sorted(firsts)[1]]
    return BY_BLOCK if second else BY_TRANSACTION


def _undecided(logs: Iterable[RpcLog]) -> dict[int, list[RpcLog]]:
    """The logs by block, of blocks in which the ways of counting may differ."""
    blocks: dict[int, list[RpcLog]] = {}
    for log in logs:
        blocks.setdefault(quantity(log.block_number), []).append(log)
    return {
        height: found
        for height, found in blocks.items()
        if any(quantity(log.transaction_index) for log in found)
    }


def _restarts(found: Sequence[RpcLog]) -> str | None:
    """`transaction` when a later transaction has an index not above an earlier one."""
    highest = -1
    ordered = sorted(
        (quantity(log.transaction_index), quantity(log.log_index)) for log in found
    )
    last_of: dict[int, int] = {}
    for at, index in ordered:
        if at not in last_of:
            highest = max([highest, *last_of.values()])
        if index <= highest:
            return BY_TRANSACTION
        last_of[at] = index
    return None


def _earlier(whole: Iterable[RpcLog]) -> Mapping[int, int]:
    """For each transaction with logs, how many logs earlier ones of the block have."""
    counts: dict[int, int] = {}
    for log in whole:
        at = quantity(log.transaction_index)
        counts[at] = counts.get(at, 0) + 1
    earlier, total = {}, 0
    for at in sorted(counts):
        earlier[at] = total
        total += counts[at]
    return earlier


def _before(log: RpcLog, earlier: Mapping[int, int]) -> int:
    try:
        return earlier[quantity(log.transaction_index)]
    except KeyError:
        raise Malformed(
            f"block {log.block_number} lacks a log when all of them are asked for: "
            "ask again"
        ) from None
