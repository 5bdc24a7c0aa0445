"""A Solana cluster as a source: programs followed by the signatures that name them.

Heights are slots; a slot may have no block. What is confirmed is read and may be
undone, what is finalized may not. A range is read when the listing has crossed all its
slots (`indexer.solana.listing`): every transaction that is listed is fetched
(`indexer.solana.reading`), and put where its block has it.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from db import blocks as remembered
from db.blocks import NO_BLOCK, Header
from db.position import BlockRange
from db.proofs import Level
from db.solana import listing as stored
from db.solana.listing import Listed
from idl.base58 import to_base58
from indexer.errors import Late, Reorg
from indexer.rpc.answers import Missing
from indexer.rpc.endpoint import Health
from indexer.rpc.messages import Malformed, collector_paused
from indexer.solana.assemble import Assembler, FollowedProgram
from indexer.solana.client import (
    CONFIRMED,
    FINALIZED,
    GENESIS,
    STATUSES_MAX,
    SolanaClient,
    block_call,
    blocks_call,
    statuses_call,
)
from indexer.solana.listing import OVERLAP, Listing, StillListing, Walker
from indexer.solana.messages import (
    RpcBlock,
    RpcTransaction,
    key_bytes,
    signature_bytes,
)
from indexer.solana.reading import NEAR, Reader, header_of
from indexer.solana.wallets import Owned, Wallets
from indexer.source import Batch, Child

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
        self._reader = Reader(client, self._forget)
        self._wallets = Wallets(client, listing, self._walker, programs)
        self._programs = programs
        self._assembler = Assembler.of(programs)
        self._confirmed = self._final = -1
        self._finals: dict[str, int] = {}  # by endpoint, the highest final slot
        self._turn: asyncio.Future[bool] | None = None  # of the range asked for last

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
        header = await self._reader.highest(
            BlockRange(max(confirmed - NEAR, 0), confirmed)
        )
        if header is None:
            raise Late(f"no block near slot {confirmed} yet: waiting for one")
        self._confirmed = max(self._confirmed, header.height)
        self._final = max(self._final, min(final, header.height))
        first = max(self._final - LATE_SLOTS, 0)
        await self._listing.run(lambda c, source: stored.reopen(c, source, first))
        await self._wallets.look(self._confirmed)
        return header

    async def final_height(self, head: Header) -> int:
        """The highest final slot, after what became final was looked at once more.

        Raises Reorg at the first slot of which a transaction that was written did not
        become final there.
        """
        final = min(self._final, head.height)
        rows = await self._listing.run(lambda c, s: stored.provisional(c, s, final))
        if any(written for _, _, written in rows) and not await self._is_same(final):
            return min(final, rows[0][0] - 1)
        for at in range(0, len(rows), STATUSES_MAX):
            pending = await self._finalise(rows[at : at + STATUSES_MAX])
            if pending is not None:
                return min(final, pending - 1)
        return final

    async def _is_same(self, final: int) -> bool:
        """Whether the highest remembered block up to a slot is as it was written.

        Its hash is of all that was before it. A transaction may be in the slot where
        it was, in a block that replaced its own while no process looked: its status
        says nothing of that, and what it did may be something else. False: no node
        tells. Raises Reorg.
        """
        found = await self._listing.run(lambda c, s: remembered.below(c, s, final, 1))
        if not found or not found[0].height:
            return True
        [known] = found
        theirs = await self.header(known.height)
        if theirs is not None and theirs.hash != known.hash:
            raise Reorg(known.height, f"the block of slot {known.height} was replaced")
        return theirs is not None

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
        block = await self._reader.first_answer(block_call(height))
        if block is not None:
            return header_of(height, block)
        first = max(height - NEAR, 0)
        around = await self._reader.first_answer(blocks_call(first, height + NEAR)) or [
            height
        ]
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
        is_final = wanted.last <= self._final
        await self._cover_in_turn(addresses, wanted, follows=follows)
        try:
            hashes: dict[int, str] | None = None if is_final else {}
            lines, read, owned = await self._list(addresses, ids, wanted, hashes)
            signatures = {line.signature: line.slot for _, line in lines}
            blocks, headers = await self._reader.blocks(
                wanted, {*signatures.values()}, is_final=is_final
            )
            _check_unchanged(hashes or {}, blocks)
            await self._add(read, lines)
        except Missing:
            if not is_final:  # it may be of a fork that is gone: list these anew
                await self._forget(wanted)
            raise
        placed = await self._reader.place(list(read.values()), blocks)
        followed = frozenset(map(to_base58, addresses))
        with collector_paused():
            made = self._assembler.assemble(placed, followed, ids, owned.texts())
        return Batch(
            wanted,
            headers,
            made.facts,
            owned.found,
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

    async def _cover_in_turn(
        self, addresses: Mapping[bytes, int], wanted: BlockRange, *, follows: bool
    ) -> None:
        """List a range behind the one below it, from which the walk goes on.

        The walk comes from above. What is above would else be read while it is under
        way, and dropped with the range below, each time that this is asked for again.
        """
        below, mine = self._turn, asyncio.get_running_loop().create_future()
        self._turn, listed = mine, False
        try:
            if follows and below is not None:
                await asyncio.wait([below])  # it is not cancelled with us
                if not below.result():
                    raise StillListing(f"slots below {wanted.first} are being listed")
            for address, start in addresses.items():
                within = BlockRange(max(start, wanted.first), wanted.last)
                await self._walker.cover(address, start, within, self._confirmed)
            listed = True
        finally:
            mine.set_result(listed)

    def addresses(self) -> list[bytes]:
        """Return every address whose transactions are listed."""
        found = {at for each in self._programs for at in each.addresses}
        return list(found.union(self._wallets.addresses))

    def _addresses(self, ids: frozenset[str], last: int) -> dict[bytes, int]:
        """The addresses of programs with wanted events, and their first slots."""
        found: dict[bytes, int] = {}
        for each in self._programs:
            if any(event.spec.id in ids for event in each.events):
                for address, start in each.addresses.items():
                    if start <= last:
                        found[address] = min(start, found.get(address, start))
        return found

    async def _list(
        self,
        addresses: Mapping[bytes, int],
        ids: frozenset[str],
        wanted: BlockRange,
        hashes: dict[int, str] | None,
    ) -> tuple[list[tuple[bytes, Listed]], dict[bytes, RpcTransaction], Owned]:
        """The lines of addresses, of wallets and of their token accounts in a range.

        Where there are wallets, the transactions are read at once: they show accounts
        that are not known, whose own are read too, and may show others. The hashes of
        their blocks are read before them, into `hashes`.
        """
        owned = await self._wallets.known(ids, wanted.last)
        lines: list[tuple[bytes, Listed]] = []
        read: dict[bytes, RpcTransaction] = {}
        fresh = dict(addresses)
        for address, start in owned.starts.items():
            fresh[address] = min(start, fresh.get(address, start))
        while fresh:
            lines += [
                (address, line)
                for address, start in fresh.items()
                for line in await self._lines(address, start, wanted)
            ]
            if not owned.starts:
                break
            if hashes is not None:
                slots = {line.slot for _, line in lines} - hashes.keys()
                hashes |= await self._reader.hashes(slots)
            added = await self._add(read, lines)
            fresh = await self._wallets.find(added, owned, self._confirmed)
        return lines, read, owned

    async def _add(
        self, read: dict[bytes, RpcTransaction], lines: Sequence[tuple[bytes, Listed]]
    ) -> Sequence[RpcTransaction]:
        """Read the transactions of lines that are not among those read; return them."""
        signatures = {
            line.signature: line.slot for _, line in lines if line.signature not in read
        }
        found = await self._reader.transactions(signatures)
        for each in found:
            read[signature_bytes(each.transaction.signatures[0])] = each
        return found

    async def _lines(
        self, address: bytes, start: int, wanted: BlockRange
    ) -> list[Listed]:
        within = BlockRange(max(start, wanted.first), wanted.last)
        await self._walker.cover(address, start, within, self._confirmed)
        return await self._listing.run(
            lambda c, source: stored.listed(c, source, address, within)
        )

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


def _check_unchanged(hashes: Mapping[int, str], blocks: Mapping[int, RpcBlock]) -> None:
    """Raise Late when a block was replaced since its hash was read.

    What is read after a block's hash is of that block, or of one that replaced it,
    and then a later block tells. What was read before it may be of one that is gone.
    """
    for slot, before in hashes.items():
        if slot in blocks and blocks[slot].blockhash != before:
            raise Late(f"slot {slot} was replaced while it was read: asking again")
