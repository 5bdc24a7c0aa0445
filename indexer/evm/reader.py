"""Reading ranges of blocks and logs, complete or not at all.

The header of the last block is asked for before the logs, in the same request: a node
that is behind answers null there and the logs are thrown away, where Polygon Edge and
others would have passed off the logs up to their head as all of them. Ranges are cut to
what the endpoint gives and to answers of one to two megabytes; several are asked for at
once and handed on in order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.position import BlockRange
from indexer.errors import Permanent
from indexer.evm.blocks import (
    EvmBlock,
    Inconsistent,
    Placed,
    block_call,
    check_links,
    place,
    read_block,
)
from indexer.evm.client import RpcClient
from indexer.evm.messages import RpcLog, quantity
from indexer.evm.numbering import Numbering
from indexer.evm.proofs import Prover
from indexer.evm.spans import SpanControl
from indexer.evm.turns import Turn, Window
from indexer.rpc.answers import Reply, RpcCall, TooLarge
from indexer.rpc.client import DEFAULT_BATCH
from indexer.rpc.endpoint import Health
from indexer.rpc.refusals import ErrorKind
from indexer.rpc.tasks import both

INCONSISTENT_ATTEMPTS = 3
MEMORY_BYTES = 48_000_000  # of answers that are asked for and not yet handed on
SPARE_PARTS = 2  # beside those under way: one is judged, one waits
MAX_PIECES = 8  # questions in the place of one that names too many addresses

NOBODY = "0x" + "00" * 20  # the zero address has no code, so it has no logs


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of a question for logs; None means any address, or any topic."""

    addresses: Sequence[str] | None = None
    topics: Sequence[str] | None = None

    def calls(
        self, first: int, last: int, max_terms: int | None = None
    ) -> list[RpcCall]:
        """The eth_getLogs of a range: one, or several that name at most so many.

        What would take more than `MAX_PIECES` of them is not named at all: more logs
        come back then, and those of others are passed over.
        """
        if self.addresses == [] or self.topics == []:
            nobody = Filter([NOBODY])  # nodes take an empty list for "any"
            return [nobody._call(first, last)]
        addresses = _pieces(self.addresses, max_terms)
        topics = _pieces(self.topics, max_terms)
        return [Filter(a, t)._call(first, last) for a in addresses for t in topics]

    def _call(self, first: int, last: int) -> RpcCall:
        params: dict[str, Any] = {"fromBlock": hex(first), "toBlock": hex(last)}
        if self.addresses is not None:
            params["address"] = list(self.addresses)
        if self.topics:
            params["topics"] = [list(self.topics)]
        terms = max(len(self.addresses or ()), len(self.topics or ()))
        span = last - first + 1
        return RpcCall("eth_getLogs", (params,), list[RpcLog], span=span, terms=terms)


def _place(log: RpcLog) -> tuple[int, int, int]:
    return (
        quantity(log.block_number),
        quantity(log.transaction_index),
        quantity(log.log_index),
    )


def _pieces(
    terms: Sequence[str] | None, most: int | None
) -> Sequence[Sequence[str] | None]:
    """The terms in pieces of at most so many; None stands for any."""
    if terms is None or most is None or len(terms) <= most:
        return [terms]
    pieces = [terms[at : at + most] for at in range(0, len(terms), most)]
    return pieces if len(pieces) <= MAX_PIECES else [None]


@dataclass(frozen=True, slots=True)
class Part:
    """One consistent answer: blocks and logs of a part of the range, in order."""

    range: BlockRange
    blocks: Sequence[
        EvmBlock
    ]  # all of them, or the first, the last and those with logs
    placed: Placed
    size_bytes: int


@dataclass(slots=True)
class ReadCounters:
    """The counts of what reading met so far."""

    parts: int = 0
    logs: int = 0
    inconsistent: int = 0
    splits: int = 0


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The plan of reading a range.

    `trust_bloom`: the blooms of the chain tell whether logs were held back.
    `sealed_from`: the block from which headers are read with all that their hash
    covers; None: nowhere. `thorough`: all that proves a block is read, whatever it
    costs. `head` as far as it is known.
    """

    whole: bool  # every log of every block, with every header
    rank: bool  # number logs by their rank, not by what the node says
    filter: Filter = field(default_factory=Filter)
    full: bool = False  # with transactions, of every block
    trust_bloom: bool = False
    sealed_from: int | None = None
    thorough: bool = False
    head: int | None = None

    @property
    def all_headers(self) -> bool:
        """Whether every header of the range is needed."""
        return self.whole or self.full

    def block_call(self, height: int) -> RpcCall:
        """The question for a block."""
        near = self.sealed_from is not None and height >= self.sealed_from
        sealed = near or self.thorough
        return block_call(height, full=self.full, sealed=sealed)


class Reader:
    """Reads ranges through a client, several requests in flight."""

    def __init__(
        self,
        client: RpcClient,
        *,
        spans: SpanControl,
        prover: Prover,
    ) -> None:
        self._client = client
        self._spans = spans
        self._prover = prover
        self._numbering = Numbering(client, prover.traits)
        self._window = Window(self._room)
        self.counters = ReadCounters()

    async def read(
        self, wanted: BlockRange, plan: ReadPlan, turn: Turn
    ) -> AsyncGenerator[Part, None]:
        """The parts of a range in order, once it is its turn.

        They are asked for meanwhile, as many at once as the endpoint is faster for and
        as memory allows.
        """
        left: deque[asyncio.Task[list[Part]]] = deque()  # asked, not yet handed on
        queue: asyncio.Queue[asyncio.Task[list[Part]] | None] = asyncio.Queue()

        async def ask() -> None:
            await turn.to_ask()
            first = wanted.first
            while first <= wanted.last:
                await self._window.enter()
                last = min(wanted.last, first + self._span(wanted.last) - 1)
                part = BlockRange(first, last)
                left.append(asyncio.create_task(self._part(part, plan)))
                queue.put_nowait(left[-1])
                first = last + 1
            turn.asked()
            queue.put_nowait(None)

        asking = asyncio.create_task(ask())
        previous: EvmBlock | None = None
        try:
            await turn.to_judge()
            while (task := await queue.get()) is not None:
                await asyncio.wait([task])
                found = task.result()
                left.popleft()
                self._window.leave()
                for done in found:
                    if previous is not None:
                        check_links([previous, done.blocks[0]])
                    previous = done.blocks[-1]
                    yield done
        finally:
            for each in (asking, *left):
                each.cancel()
            for _ in left:  # before we wait, where we may be cancelled once more
                self._window.leave()
            await asyncio.gather(asking, *left, return_exceptions=True)

    async def read_logs(self, part: Part, filter_: Filter, *, rank: bool) -> Part:
        """The part with the logs of another filter beside its own."""
        plan = ReadPlan(whole=False, rank=rank, filter=filter_)
        parts = await self._part(part.range, plan)
        known = {block.header.height: block for block in part.blocks}
        for block in (block for again in parts for block in again.blocks):
            height = block.header.height
            if known.setdefault(height, block).hash_hex != block.hash_hex:
                raise Inconsistent(f"block {height} changed while it was read: again")
        # A question that may not name so many addresses brings what is here already.
        known_logs = {_place(log): log for log in part.placed.logs}
        for again in parts:
            known_logs |= {_place(log): log for log in again.placed.logs}
        logs = list(known_logs.values())
        size = part.size_bytes + sum(again.size_bytes for again in parts)
        blocks = [known[height] for height in sorted(known)]
        return Part(part.range, blocks, place(logs, known, rank=rank), size)

    def _room(self) -> int:
        """Return how many parts may be asked for and not yet handed on."""
        fitting = self._spans.parts_in(MEMORY_BYTES)
        return min(fitting, self._client.inflight() + SPARE_PARTS)

    def _span(self, last: int) -> int:
        limits = self._client.limits(last)
        return self._spans.next(
            max_range=limits.max_range, max_results=limits.max_results
        )

    async def _part(self, wanted: BlockRange, plan: ReadPlan) -> list[Part]:
        """One part, or several when the endpoint finds it too large."""
        try:
            return [await self._consistent(wanted, plan)]
        except TooLarge as error:
            if error.refusal is ErrorKind.TERMS:
                return await self._part(wanted, plan)  # with fewer, as it has learnt
            if wanted.blocks == 1:
                if error.refusal in (ErrorKind.TIMEOUT, ErrorKind.OTHER):
                    raise
                raise Permanent(
                    f"block {wanted.first} alone is too large for the endpoint "
                    f"({error}): use an endpoint without that limit"
                ) from None
            self.counters.splits += 1
            self._spans.shrink(wanted.blocks)
            step = wanted.blocks // 2
            if error.refusal is ErrorKind.RANGE and error.endpoint.limits.max_range:
                step = min(error.endpoint.limits.max_range, wanted.blocks - 1)
            return await self._cut(wanted, plan, step, error)

    async def _cut(
        self, wanted: BlockRange, plan: ReadPlan, step: int, error: TooLarge
    ) -> list[Part]:
        found: list[Part] = []
        for first in range(wanted.first, wanted.last + 1, step):
            last = min(first + step - 1, wanted.last)
            found += await self._part(BlockRange(first, last), plan)
            if first == wanted.first and error.refusal is ErrorKind.OTHER:
                # Half of it worked where all of it failed twice: that was its size.
                error.endpoint.learn_range(wanted.blocks, None)
        return found

    async def _consistent(self, wanted: BlockRange, plan: ReadPlan) -> Part:
        """Read a part whose headers and logs agree; pauses inconsistent endpoints."""
        for attempt in range(INCONSISTENT_ATTEMPTS):
            reply, blocks = await self._ask(wanted, plan)
            try:
                return await self._checked(wanted, plan, reply, blocks)
            except Inconsistent as error:
                self.counters.inconsistent += 1
                reply.endpoint.failed(Health.LAGGING, error)
                if attempt == INCONSISTENT_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _ask(
        self, wanted: BlockRange, plan: ReadPlan
    ) -> tuple[Reply, dict[int, EvmBlock]]:
        """The last header, the logs, and as many other headers as fit the request.

        Where no bloom tells whether logs were held back, the last header is asked for
        once more behind them: a node that lost its last blocks in between would have
        answered with too few.
        """
        again = [] if plan.trust_bloom else [wanted.last]
        others = [wanted.first] if wanted.blocks > 1 else []
        if plan.all_headers:
            others = list(range(wanted.first, wanted.last))
        limits = self._client.limits(wanted.last)
        asked = plan.filter.calls(wanted.first, wanted.last, limits.max_terms)
        most = limits.max_batch or DEFAULT_BATCH
        room = max(most - 1 - len(asked) - len(again), 0)
        heights = [wanted.last, *again, *others[:room]]
        calls = [plan.block_call(height) for height in heights]
        calls[1:1] = asked
        reply, more = await both(
            self._client.batch(calls, ordered=True, height=wanted.last),
            self._headers(others[room:], plan, wanted.last),
        )
        logs = [log for part in reply.results[1 : 1 + len(asked)] for log in part]
        answers = [reply.results[0], *reply.results[1 + len(asked) :]]
        reply = Reply([reply.results[0], logs], reply.size_bytes, reply.endpoint)
        if again and answers[0].hash != answers[1].hash:
            raise Inconsistent(
                f"block {wanted.last} was replaced while its logs were read: read again"
            )
        blocks = self._read_blocks(heights, answers)
        return reply, blocks | more

    async def _headers(
        self, heights: Sequence[int], plan: ReadPlan, last: int
    ) -> dict[int, EvmBlock]:
        if not heights:
            return {}
        calls = [plan.block_call(height) for height in heights]
        reply = await self._client.batch(calls, height=last)
        return self._read_blocks(heights, reply.results)

    def _read_blocks(
        self, heights: Sequence[int], answers: Sequence[Any]
    ) -> dict[int, EvmBlock]:
        return {
            height: read_block(answer, height)
            for height, answer in zip(heights, answers, strict=True)
        }

    async def _checked(
        self,
        wanted: BlockRange,
        plan: ReadPlan,
        reply: Reply,
        blocks: dict[int, EvmBlock],
    ) -> Part:
        logs: list[RpcLog] = reply.results[1]
        if not plan.all_headers:
            there = {quantity(number) for number in {log.block_number for log in logs}}
            outside = there - set(range(wanted.first, wanted.last + 1))
            if outside:
                raise Inconsistent(f"a log of block {outside.pop()} was not asked for")
            blocks |= await self._headers(
                sorted(there - blocks.keys()), plan, wanted.last
            )
        ordered = [blocks[height] for height in sorted(blocks)]
        check_links(ordered)
        if not plan.rank:
            await self._numbering.normalise(logs, reply.endpoint)
        placed = place(logs, blocks, rank=plan.rank)
        if plan.whole:
            ordered = await self._prover.prove(
                ordered, placed, head=plan.head, thorough=plan.thorough
            )
        self.counters.parts += 1
        self.counters.logs += len(logs)
        self._spans.observe(
            blocks=wanted.blocks, logs=len(logs), size_bytes=reply.size_bytes
        )
        return Part(wanted, ordered, placed, reply.size_bytes)
