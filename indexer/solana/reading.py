"""Reading of blocks and transactions: whichever endpoint has them, each in its place.

Blocks are read for their hashes near the head, where a fork may replace them, and where
a node does not tell the index of a transaction in its block.
"""

import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from db.blocks import Header
from db.position import BlockRange
from idl.base58 import to_base58
from indexer.errors import Contradiction, Late, Permanent, Retryable
from indexer.rpc.answers import RpcCall, RpcError
from indexer.rpc.messages import Malformed
from indexer.rpc.refusals import ErrorKind
from indexer.solana.assemble import Placed
from indexer.solana.client import (
    SolanaClient,
    block_call,
    blocks_call,
    transaction_call,
)
from indexer.solana.messages import RpcBlock, RpcTransaction, key_bytes

NEAR = 32  # slots below the confirmed one in which a block is looked for


class Reader:
    """Reads what is listed; `forget` has some slots listed anew."""

    def __init__(
        self, client: SolanaClient, forget: Callable[[BlockRange], Awaitable[None]]
    ) -> None:
        self._client = client
        self._forget = forget
        self._tells_index = True  # whether transactions come with their index

    async def blocks(
        self, wanted: BlockRange, slots: Collection[int], *, is_final: bool
    ) -> tuple[dict[int, RpcBlock], list[Header]]:
        """The blocks that are needed, with signatures where the index is, and headers.

        Of final slots the last block is enough, and none where nothing was done.
        """
        asked: list[int] = []
        if not is_final:
            there = await self._client.call(
                blocks_call(wanted.first, wanted.last), height=wanted.last
            )
            lacking = set(slots) - set(there)
            if lacking:
                await self._forget(wanted)
                raise Contradiction(
                    f"slot {min(lacking)} has a transaction and no block: it was "
                    "dropped, or an endpoint lags; listing it anew"
                )
            asked = sorted({*slots, *there[-1:]})
        elif not self._tells_index:
            asked = sorted(slots)
        calls = [
            block_call(at, signatures=not self._tells_index and at in slots)
            for at in asked
        ]
        reply = await self._client.batch(calls, height=wanted.last) if calls else None
        blocks: dict[int, RpcBlock] = {}
        for at, block in zip(asked, reply.results if reply else (), strict=True):
            if block is None:
                raise Late(f"the block of slot {at} is not there yet: asking again")
            blocks[at] = block
        headers = [header_of(at, blocks[at]) for at in asked if at]  # 0: see `header`
        if is_final and slots and (not asked or asked[-1] < wanted.last):
            near = BlockRange(max(wanted.last - NEAR, wanted.first), wanted.last)
            last = await self.highest(near)
            if last is not None and last.height and last.height not in blocks:
                headers.append(last)
        return blocks, headers

    async def hashes(self, slots: Collection[int]) -> dict[int, str]:
        """The hashes of the blocks in some slots; raises Late where one has none."""
        asked = sorted(slots)
        if not asked:
            return {}
        calls = [block_call(at) for at in asked]
        found = (await self._client.batch(calls, height=asked[-1])).results
        for at, block in zip(asked, found, strict=True):
            if block is None:
                raise Late(f"the block of slot {at} is not there yet: asking again")
        return {at: each.blockhash for at, each in zip(asked, found, strict=True)}

    async def highest(self, within: BlockRange) -> Header | None:
        """The highest block in some slots, None when they have none."""
        block = await self.first_answer(block_call(within.last))
        if block is not None:
            return header_of(within.last, block)
        there = await self._client.call(blocks_call(within.first, within.last))
        for slot in reversed(there):
            block = await self.first_answer(block_call(slot))
            if block is not None:
                return header_of(slot, block)
        return None

    async def first_answer(self, call: RpcCall) -> Any:
        """The answer of whoever has one; None where nobody has."""
        for endpoint in self._client.usable():
            try:
                answer = await self._client.ask(endpoint, call)
            except Retryable:
                continue
            if answer is not None:
                return answer
        return None

    async def transactions(
        self, signatures: Mapping[bytes, int]
    ) -> list[RpcTransaction]:
        """Every transaction that is listed; null is another endpoint's turn.

        Raises Permanent for one of a version that nobody here can read.
        """
        texts = [to_base58(each) for each in signatures]
        if not texts:
            return []
        calls = [transaction_call(text) for text in texts]
        last = max(signatures.values())
        try:
            found = (await self._client.batch(calls, height=last)).results
        except RpcError as error:
            if error.refusal is ErrorKind.VERSION:
                raise Permanent(
                    f"{error}: a transaction is of a version that this release cannot "
                    "read; nothing was skipped. Install a newer release"
                ) from None
            raise
        for each, text, slot in zip(found, texts, signatures.values(), strict=True):
            signed = each.transaction.signatures
            if not signed or signed[0] != text:
                raise Malformed("a transaction is not the one asked for: ask again")
            if each.slot != slot:
                await self._forget(BlockRange(slot, slot))
                await self._forget(BlockRange(each.slot, each.slot))
                raise Contradiction(
                    f"{signed[0]} was listed in slot {slot} and is in {each.slot}: "
                    "listing them anew"
                )
        return list(found)

    async def place(
        self, found: Sequence[RpcTransaction], blocks: dict[int, RpcBlock]
    ) -> list[Placed]:
        """Transactions in their order on the chain, with index and time."""
        bare = {each.slot for each in found if each.transaction_index is None}
        asked = sorted(
            at for at in bare if at not in blocks or not blocks[at].signatures
        )
        if asked:
            self._tells_index = False
            calls = [block_call(at, signatures=True) for at in asked]
            answers = (await self._client.batch(calls, height=asked[-1])).results
            blocks = blocks | dict(zip(asked, answers, strict=True))
        places: dict[int, dict[str, int]] = {}
        for at in bare:
            signatures = (blocks[at].signatures if blocks[at] else None) or ()
            places[at] = {text: index for index, text in enumerate(signatures)}
        placed = []
        for each in found:
            text = each.transaction.signatures[0]
            index = each.transaction_index
            if index is None:
                index = places[each.slot].get(text)
            if index is None:
                raise Contradiction(
                    f"the block of slot {each.slot} lacks {text}, which is in it: an "
                    "endpoint lags, or lies; asking again"
                )
            block = blocks.get(each.slot)
            time = each.block_time or (block.block_time if block else None) or 0
            placed.append(Placed(each, index, time))
        placed.sort(key=lambda each: (each.transaction.slot, each.index))
        for one, other in itertools.pairwise(placed):
            same = one.transaction.slot == other.transaction.slot
            if same and one.index == other.index:
                raise Malformed("two transactions have one index: ask again")
        return placed


def header_of(slot: int, block: RpcBlock) -> Header:
    """Return the header of a block."""
    return Header(
        slot, key_bytes(block.blockhash), key_bytes(block.previous_blockhash),
        block.block_time or 0,
    )  # fmt: skip
