"""An EVM chain as a source: ranges of blocks in, columns of facts out.

`mode="all"` reads every log of every block and every header: one question serves all
filters, the ordinal is the rank of a log in its block, headers must link, and the bloom
of each header must fit the logs received where the chain writes blooms; near the head
headers are hashed and receipts read (`indexer.evm.proofs`). `mode="filtered"` asks for
the addresses and topics that are followed, for chains with much that is not ours; the
ordinal is `tx_index << 18 | log_index`, the index counted as the chain is known to
count it (`indexer.evm.numbering`), and nothing proves that a node held no log back.
The two number facts differently, so a chain keeps its mode.
"""

import asyncio
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

from db.blocks import Header
from db.position import BlockRange
from db.proofs import HeaderProof, Level
from db.validators import ValidatorSet
from indexer.errors import Permanent, Retryable
from indexer.evm.blocks import block_call, read_block
from indexer.evm.client import RpcClient
from indexer.evm.filters import Followed, FollowedContract
from indexer.evm.finality import Depth, Finality, Ibft, Tag, final_height
from indexer.evm.ibft import ValidatorState
from indexer.evm.messages import RpcHeader
from indexer.evm.new_children import NewChildren
from indexer.evm.proofs import HEAD_BLOCKS, ProofPolicy, Prover, require
from indexer.evm.reader import Filter, Part, Reader, ReadPlan
from indexer.evm.router import Routed, Router
from indexer.evm.sealing import Sealing
from indexer.evm.spans import TARGET_BYTES, SpanControl
from indexer.evm.traits import Traits
from indexer.evm.transactions import sender_transactions
from indexer.evm.turns import Turn
from indexer.rpc.answers import Missing, RpcCall
from indexer.rpc.endpoint import Endpoint, Health
from indexer.rpc.tasks import gather
from indexer.source import Batch, Child, SenderTransaction

STILL_SECONDS = 10.0  # a head that stands still so long is checked elsewhere
MAX_ADDRESSES = 1000  # more are not sent: the topics alone are, and we filter
LATEST = RpcCall("eth_getBlockByNumber", ("latest", False), RpcHeader)


class EvmSource:
    """One EVM chain, read through a client; implements `indexer.source.Source`."""

    def __init__(
        self,
        name: str,
        chain_id: str,
        client: RpcClient,
        contracts: Sequence[FollowedContract],
        finality: Finality,
        *,
        mode: Literal["all", "filtered"] = "all",
        policy: ProofPolicy = ProofPolicy(),
        traits: Mapping[str, str] | None = None,
        validators: ValidatorState | None = None,
        watch_senders: Collection[bytes] = frozenset(),
        known_children: Iterable[Child] = (),
        target_bytes: int = TARGET_BYTES,
    ) -> None:
        if chain_id != f"eip155:{client.chain_id}":
            raise Permanent(
                f"{name}: the chain id is {chain_id}, the client's is "
                f"eip155:{client.chain_id}: make the settings agree"
            )
        self.name = name
        self.chain_id = chain_id
        self._own_senders = self.watch_senders = frozenset(watch_senders)
        self._client = client
        self._finality = finality
        self._mode = mode
        self._prover = Prover(client, policy, Traits(dict(traits or {})))
        required = policy.require.header is HeaderProof.SEALS
        self._sealing = Sealing(validators, required=required)
        self._followed = Followed(contracts, known_children)
        self._router = Router(self._followed)
        self._reader = Reader(
            client,
            spans=SpanControl(target_bytes=target_bytes),
            prover=self._prover,
        )
        self._last_turn: Turn | None = None
        self._seen: Header | None = None
        self._moved_at = 0.0  # when the head last moved
        self._looked_at = -STILL_SECONDS
        self._looking: set[asyncio.Task[Header | None]] = set()
        self.head_regressions = 0

    async def head(self) -> Header:
        """The highest block the source reports.

        A head below one seen before is first doubted: the other endpoints are asked,
        and only if all of them answer, and none is higher, is it believed. While it
        stands still the others are asked too, without waiting for them: perhaps only
        its node does, and then the next head is theirs.
        """
        reply = await self._client.batch([LATEST])
        head = read_block(reply.results[0]).header
        self._client.saw_head(reply.endpoint, head.height)
        now = self._client.clock()
        if self._seen is None or head.height >= self._seen.height:
            if self._seen is None or head.height > self._seen.height:
                self._moved_at = now
            self._look_around(reply.endpoint, now)
            self._seen = head
            return head
        self.head_regressions += 1
        others = [e for e in self._client.usable() if e is not reply.endpoint]
        answers = await gather([self._head_of(endpoint) for endpoint in others])
        heads = [head, *[answer for answer in answers if answer is not None]]
        best = max(heads, key=lambda header: header.height)
        if best.height >= self._seen.height or len(heads) == len(others) + 1:
            self._seen, self._moved_at = best, now
        return self._seen

    def _look_around(self, asked: Endpoint, now: float) -> None:
        """Ask endpoints that were behind; ask all while the head does not move."""
        if now - self._looked_at < STILL_SECONDS:
            return
        still = now - self._moved_at >= STILL_SECONDS
        others = [
            e
            for e in self._client.usable()
            if e is not asked and (still or e.health is Health.LAGGING)
        ]
        if not others:
            return
        self._looked_at = now
        for endpoint in others:
            task = asyncio.create_task(self._head_of(endpoint))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _head_of(self, endpoint: Endpoint) -> Header | None:
        try:
            head = read_block(await self._client.ask(endpoint, LATEST)).header
        except Retryable:
            return None
        self._client.saw_head(endpoint, head.height)
        return head

    async def final_height(self, head: Header) -> int:
        """The highest block that cannot be undone, -1 when there is none yet."""
        return await final_height(self._client, self._finality, head)

    async def header(self, height: int) -> Header | None:
        """The header at a height, None when no endpoint has such a block (yet)."""
        call = block_call(height, nullable=True)
        asked: Endpoint | None = None
        try:
            reply = await self._client.batch([call], height=height)
            asked = reply.endpoint
            if reply.results[0] is not None:
                return read_block(reply.results[0], height).header
        except Missing:
            pass  # some nodes say it with an error
        for endpoint in self._client.usable():
            if endpoint is asked:
                continue
            try:
                answer = await self._client.ask(endpoint, call)
            except Missing:
                continue
            if answer is not None:
                return read_block(answer, height).header
        return None

    def learn_children(self, children: Iterable[Child]) -> None:
        """Follow these contracts too, from their heights on."""
        for child in children:
            self._followed.add(child)

    def forget_children(self, height: int) -> None:
        """Forget the contracts made at or above a height: their blocks are gone."""
        self._followed.forget_from(height)

    def watch(self, wallets: Collection[bytes]) -> None:
        """Read the transactions of these accounts too, besides our own signers'."""
        self.watch_senders = self._own_senders | frozenset(wallets)

    def provable(self) -> Sequence[Level]:
        """The levels to which blocks can be raised, as far as the chain has shown."""
        return self._prover.provable() if self._mode == "all" else ()

    async def prove(self, wanted: BlockRange, events: Iterable[str]) -> Batch:
        """Read a range again with all that proves its blocks."""
        return await self._read(wanted, frozenset(events), Turn(), thorough=True)

    async def fetch(
        self, wanted: BlockRange, events: Iterable[str], *, follows: bool = False
    ) -> Batch:
        """Read a range for the events with these ids; see `indexer.source.Source`.

        Children announced in the range are in the batch and are followed from then on,
        also when their announcing events are not among `events`.
        """
        turn = self._last_turn = Turn(self._last_turn if follows else None)
        return await self._read(wanted, frozenset(events), turn)

    async def _read(
        self,
        wanted: BlockRange,
        ids: frozenset[str],
        turn: Turn,
        *,
        thorough: bool = False,
    ) -> Batch:
        plan = self._plan(wanted, ids, thorough=thorough)
        try:
            batch = await self._judge(wanted, ids, plan, turn)
        except BaseException:
            turn.end(well=False)
            raise
        turn.end(well=True)
        return batch

    async def _judge(
        self, wanted: BlockRange, ids: frozenset[str], plan: ReadPlan, turn: Turn
    ) -> Batch:
        fresh = NewChildren.under(plan, self._followed.contracts)
        routed = Routed()
        known = self._sealing.known()
        headers: dict[int, Header] = {}
        transactions: list[SenderTransaction] = []
        received = logs = 0
        async with aclosing(self._reader.read(wanted, plan, turn)) as parts:
            async for part in parts:
                if not headers and fresh.asked is not None:
                    # By now the ranges below are judged, with their children.
                    fresh.add(self._followed.addresses(wanted.last))
                part = await self._with_children(part, plan, fresh, routed)
                self._router.route(part.placed, routed)
                proved = self._sealing.prove(part.blocks) if plan.whole else part.blocks
                for block in proved:
                    require(block, self._prover.policy.require)
                headers |= {block.height: block.header for block in proved}
                transactions += await sender_transactions(
                    self._client, part.blocks, self.watch_senders
                )
                received += part.size_bytes
                logs += len(part.placed.logs)
        self._sealing.settle(wanted, known)
        stats = {
            "logs": logs,
            "received_bytes": received,
            "unknown_topics": routed.unknown_topics,
            "undecodable": len(routed.undecodable),
            "inconsistent_answers_total": self._reader.counters.inconsistent,
            "requests_total": self._client.counters.requests,
        }
        return Batch(
            wanted,
            [headers[height] for height in sorted(headers)],
            routed.facts(ids),
            routed.found(),
            [routed.undecodable[at] for at in sorted(routed.undecodable)],
            transactions,
            stats,
            self._prover.traits.take(),
            self._validators_after(wanted.last),
        )

    def _validators_after(self, height: int) -> ValidatorSet | None:
        state = self._sealing.after(height)
        if state is None:
            return None
        return ValidatorSet(state.height, state.hash, state.as_json())

    async def discover(self, wanted: BlockRange) -> Sequence[Child]:
        """The contracts that factories made in a range, without reading its facts.

        Includes the children of children that the range announces. All of them are
        followed from then on.
        """
        if not self._followed.announces:
            return []
        plan = ReadPlan(
            whole=False,
            rank=True,
            filter=self._filter(
                self._followed.addresses(wanted.last, announcing=True),
                sorted(self._followed.announcing_topics),
            ),
        )
        fresh = NewChildren.under(plan, self._followed.makers)
        routed = Routed()
        async with aclosing(self._reader.read(wanted, plan, Turn())) as parts:
            async for part in parts:
                part = await self._with_children(part, plan, fresh, routed)
                self._router.discover(part.placed, routed)
        return routed.found()

    async def close(self) -> None:
        """Let go of connections."""
        for task in list(self._looking):
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        await self._client.close()

    def endpoints(self) -> dict[str, str]:
        """Return why each endpoint does not answer, by name; empty text: it does."""
        silent = (Health.DOWN, Health.LIMITED)
        return {
            key: reason if health in silent else ""
            for key, (health, reason) in self._client.verdicts().items()
        }

    def status(self) -> dict[str, Any]:
        """The health of each endpoint and its counters, for metrics."""
        return {
            "endpoints": {
                key: health.value
                for key, (health, _) in self._client.verdicts().items()
            },
            "head_regressions": self.head_regressions,
            **dataclasses.asdict(self._client.counters),
            **dataclasses.asdict(self._reader.counters),
        }

    def _plan(
        self, wanted: BlockRange, ids: frozenset[str], *, thorough: bool
    ) -> ReadPlan:
        head = None if self._seen is None else self._seen.height
        whole = self._mode == "all"
        near = 0 if head is None else head - HEAD_BLOCKS
        filter_ = Filter()
        if not whole:
            filter_ = self._filter(
                self._followed.addresses(wanted.last), self._followed.topics(ids)
            )
        return ReadPlan(
            whole=whole,
            rank=whole,
            full=bool(self.watch_senders),
            trust_bloom=whole and self._prover.trusts_bloom,
            sealed_from=self._prover.sealed_from(near) if whole else None,
            thorough=thorough,
            head=head,
            filter=filter_,
        )

    def _filter(self, addresses: Sequence[str], topics: Sequence[str]) -> Filter:
        """More addresses than a node likes are left out: the topics alone must do."""
        return Filter(addresses if len(addresses) <= MAX_ADDRESSES else None, topics)

    async def _with_children(
        self, part: Part, plan: ReadPlan, fresh: NewChildren, routed: Routed
    ) -> Part:
        """The part with the logs of children that its question could not name yet.

        Parts are asked for ahead, so the children of earlier parts are asked for too.
        """
        if fresh.asked is None:
            return part
        pending = list(fresh.addresses)
        while True:
            for child in self._router.discover(part.placed, routed):
                address = "0x" + child.address.hex()
                if address not in fresh.asked and child.contract in fresh.contracts:
                    fresh.asked.add(address)
                    fresh.addresses.append(address)
                    pending.append(address)
            if not pending:
                return part
            for at in range(0, len(pending), MAX_ADDRESSES):
                chosen = pending[at : at + MAX_ADDRESSES]
                filter_ = Filter(chosen, plan.filter.topics)
                part = await self._reader.read_logs(part, filter_, rank=plan.rank)
            pending = []


__all__ = [
    "Depth", "EvmSource", "FollowedContract", "Ibft", "RpcClient", "Tag",
]  # fmt: skip
