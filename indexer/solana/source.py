"""A Solana cluster as a source: programs followed by the signatures that name them.

Heights are slots; a slot may have no block. What is confirmed is read and may be
undone, what is finalized may not. A range is read when the listing has crossed all its
slots (`indexer.solana.listing`): every transaction that is listed is fetched, whichever
endpoint has it, and put where its block has it. Blocks are read for their hashes near
the head, where a fork may replace them, and where a node does not tell the index of a
transaction in its block.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from db.blocks import NO_BLOCK, Header
from db.position import BlockRange
from db.proofs import Level
from db.solana import listing as stored
from db.solana.listing import Listed
from idl.base58 import to_base58
from indexer.errors import Contradiction, Late, Permanent, Reorg, Retryable
from indexer.rpc.answers import Missing, RpcCall, RpcError
from indexer.rpc.endpoint import Health
from indexer.rpc.messages import Malformed, collector_paused
from indexer.rpc.refusals import ErrorKind
from indexer.solana.assemble import Assembler, FollowedProgram, Placed
from indexer.solana.client import (
    CONFIRMED,
    FINALIZED,
    GENESIS,
    STATUSES_MAX,
    SolanaClient,
    block_call,
    blocks_call,
    statuses_call,
    transaction_call,
)
from indexer.solana.listing import OVERLAP, Listing, Walker
from indexer.solana.messages import RpcBlock, RpcTransaction, key_bytes
from indexer.source import Batch, Child

NEAR = 32  # slots below the confirmed one in which a block is looked for
LATE_SLOTS = 10_000  # below the final one, in which late lines are looked for


class SolanaSource:
    """One cluster, read through a client; implements `indexer.source.Source`."""

    def __init__(
        self,
        name: str,
        client: SolanaClient,
        programs: Sequence[FollowedProgram],
        listing: Listing,
    ) -> None:
        self.name = name
        self.chain_id = client.chain_id
        self._client = client
        self._listing = listing
        self._walker = Walker(client, listing)
        self._programs = programs
        self._assembler = Assembler.of(programs)
        self._confirmed = self._final = -1
        self._finals: dict[str, int] = {}  # by endpoint, the highest final slot
        self._tells_index = True  # whether transactions come with their index

    async def head(self) -> Header:
        """The highest confirmed slot that has a block.

        The final slot is asked for with it, of the same endpoint; one whose final slot
        goes back is another node, or lies, and is not believed.
        """
        for _ in range(len(self._client.endpoints) + 1):
            reply = await self._client.batch([CONFIRMED, FINALIZED], ordered=True)
            confirmed, final = reply.results
            endpoint = reply.endpoint
            if final < self._finals.get(endpoint.key, -1):
                error = Late(
                    f"{endpoint.label}: its final slot went back to {final}: waiting "
                    "for it"
                )
                endpoint.failed(Health.LAGGING, error)
                continue
            self._finals[endpoint.key] = final
            self._client.saw_head(endpoint, confirmed, lag=OVERLAP)
            break
        else:
            raise Late("no endpoint is as far as it was: waiting for one")
        header = await self._highest(BlockRange(max(confirmed - NEAR, 0), confirmed))
        if header is None:
            raise Late(f"no block near slot {confirmed} yet: waiting for one")
        self._confirmed = max(self._confirmed, header.height)
        self._final = max(self._final, min(final, header.height))
        first = max(self._final - LATE_SLOTS, 0)
        await self._listing.run(lambda c, source: stored.reopen(c, source, first))
        return header

    async def final_height(self, head: Header) -> int:
        """The highest final slot, after what became final was looked at once more.

        Raises Reorg at the first slot of which a transaction that was written did not
        become final there.
        """
        final = min(self._final, head.height)
        rows = await self._listing.run(lambda c, s: stored.provisional(c, s, final))
        for at in range(0, len(rows), STATUSES_MAX):
            pending = await self._finalise(rows[at : at + STATUSES_MAX])
            if pending is not None:
                return min(final, pending - 1)
        return final

    async def _finalise(self, rows: Sequence[tuple[int, bytes, bool]]) -> int | None:
        """Compare lines with what became of them; those that are well are final.

        Returns the first slot of which a node cannot tell yet that it is.
        """
        texts = [to_base58(signature) for _, signature, _ in rows]
        statuses = (await self._client.call(statuses_call(texts))).value
        if len(statuses) != len(rows):
            raise Malformed(f"{len(statuses)} statuses of {len(rows)}: ask again")
        good: list[Listed] = []
        pending: int | None = None
        for (slot, signature, written), status in zip(rows, statuses, strict=True):
            if status is not None and status.slot == slot:
                if status.confirmation_status in ("finalized", None):
                    good.append(Listed(slot, signature, final=True))
                elif pending is None:
                    pending = slot
            elif written:
                text = to_base58(signature)
                raise Reorg(slot, f"{text} did not become final in slot {slot}")
            else:
                await self._forget(BlockRange(slot, slot))
        if good:
            await self._listing.run(lambda c, s: stored.mark_final(c, s, good))
        return pending

    async def _forget(self, slots: BlockRange) -> None:
        await self._listing.run(lambda c, s: stored.forget(c, s, slots))

    async def header(self, height: int) -> Header | None:
        """The block in a slot; its hash is `NO_BLOCK` where the slot has none.

        Slot 0 has the genesis hash, which every node knows. None for a slot above the
        confirmed one, and where nodes do not have the blocks around it either.
        """
        if height == 0:
            genesis = await self._client.call(GENESIS)
            return Header(0, key_bytes(genesis), NO_BLOCK, 0)
        if height > await self._client.call(CONFIRMED):
            return None
        block = await self._try(block_call(height))
        if block is not None:
            return _header(height, block)
        first = max(height - NEAR, 0)
        around = await self._try(blocks_call(first, height + NEAR)) or [height]
        skipped = around[0] < height < around[-1] and height not in around
        return Header(height, NO_BLOCK, NO_BLOCK, 0) if skipped else None

    async def fetch(
        self, wanted: BlockRange, events: Iterable[str], *, follows: bool = False
    ) -> Batch:
        """Read a range for the events with these ids; see `indexer.source.Source`."""
        ids = frozenset(events)
        if wanted.last > self._confirmed:
            raise Late(f"slot {wanted.last} is not confirmed yet: waiting for it")
        addresses = self._addresses(ids, wanted.last)
        lines = [
            (address, line)
            for address, start in addresses.items()
            for line in await self._lines(address, start, wanted)
        ]
        slots = {line.slot for _, line in lines}
        signatures = {line.signature: line.slot for _, line in lines}
        is_final = wanted.last <= self._final
        blocks, headers = await self._blocks(wanted, slots, is_final=is_final)
        try:
            found = await self._transactions(signatures)
        except Missing:
            if not is_final:  # it may be of a fork that is gone: list these anew
                await self._forget(wanted)
            raise
        placed = await self._place(found, blocks)
        followed = frozenset(map(to_base58, addresses))
        with collector_paused():
            made = self._assembler.assemble(placed, followed, ids)
        return Batch(
            wanted,
            headers,
            made.facts,
            undecodable=made.undecodable,
            stats={
                "transactions": len(placed),
                "failed": len(made.failed),
                "truncated_logs": made.truncated,
                "unknown": made.unknown,
                "pages_total": self._walker.pages,
                "requests_total": self._client.counters.requests,
            },
            failed=made.failed,
            listed=[(address, line.signature) for address, line in lines],
        )

    def addresses(self) -> list[bytes]:
        """Return every address whose transactions are listed."""
        return list({at for each in self._programs for at in each.addresses})

    def _addresses(self, ids: frozenset[str], last: int) -> dict[bytes, int]:
        """The addresses of programs with wanted events, and their first slots."""
        found: dict[bytes, int] = {}
        for each in self._programs:
            if any(event.spec.id in ids for event in each.events):
                for address, start in each.addresses.items():
                    if start <= last:
                        found[address] = min(start, found.get(address, start))
        return found

    async def _lines(
        self, address: bytes, start: int, wanted: BlockRange
    ) -> list[Listed]:
        within = BlockRange(max(start, wanted.first), wanted.last)
        await self._walker.cover(address, start, within, self._confirmed)
        return await self._listing.run(
            lambda c, source: stored.listed(c, source, address, within)
        )

    async def _blocks(
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
        headers = [_header(at, blocks[at]) for at in asked if at]  # 0: see `header`
        if is_final and slots and (not asked or asked[-1] < wanted.last):
            near = BlockRange(max(wanted.last - NEAR, wanted.first), wanted.last)
            last = await self._highest(near)
            if last is not None and last.height and last.height not in blocks:
                headers.append(last)
        return blocks, headers

    async def _highest(self, within: BlockRange) -> Header | None:
        """The highest block in some slots, None when they have none."""
        block = await self._try(block_call(within.last))
        if block is not None:
            return _header(within.last, block)
        there = await self._client.call(blocks_call(within.first, within.last))
        for slot in reversed(there):
            block = await self._try(block_call(slot))
            if block is not None:
                return _header(slot, block)
        return None

    async def _try(self, call: RpcCall) -> Any:
        """The answer of whoever has one; None where nobody has."""
        for endpoint in self._client.usable():
            try:
                answer = await self._client.ask(endpoint, call)
            except Retryable:
                continue
            if answer is not None:
                return answer
        return None

    async def _transactions(
        self, signatures: Mapping[bytes, int]
    ) -> list[RpcTransaction]:
        """Every transaction that is listed; null is another endpoint's turn.

        Raises Permanent for one of a version that nobody here can read.
        """
        calls = [transaction_call(to_base58(each)) for each in signatures]
        if not calls:
            return []
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
        for each, (signature, slot) in zip(found, signatures.items(), strict=True):
            signed = each.transaction.signatures
            if not signed or signed[0] != to_base58(signature):
                raise Malformed("a transaction is not the one asked for: ask again")
            if each.slot != slot:
                await self._forget(BlockRange(slot, slot))
                await self._forget(BlockRange(each.slot, each.slot))
                raise Contradiction(
                    f"{signed[0]} was listed in slot {slot} and is in {each.slot}: "
                    "listing them anew"
                )
        return list(found)

    async def _place(
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

    def provable(self) -> Sequence[Level]:
        """No level: nothing that is read here proves a block."""
        return ()

    async def prove(self, wanted: BlockRange, events: Iterable[str]) -> Batch:
        """Read a range again."""
        return await self.fetch(wanted, events)

    async def discover(self, wanted: BlockRange) -> Sequence[Child]:
        """Nothing: programs make no programs that are followed."""
        return ()

    def learn_children(self, children: Iterable[Child]) -> None:
        """Nothing is learnt; see `discover`."""

    def forget_children(self, height: int) -> None:
        """Nothing is forgotten; see `discover`."""

    def watch(self, wallets: Collection[bytes]) -> None:
        """Nothing: the transactions of wallets are not read here."""

    def endpoints(self) -> dict[str, str]:
        """Return why each endpoint does not answer, by name; empty text: it does."""
        silent = (Health.DOWN, Health.LIMITED)
        return {
            key: reason if health in silent else ""
            for key, (health, reason) in self._client.verdicts().items()
        }

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


def _header(slot: int, block: RpcBlock) -> Header:
    return Header(
        slot, key_bytes(block.blockhash), key_bytes(block.previous_blockhash),
        block.block_time or 0,
    )  # fmt: skip
