"""Writing past ranges with several processes, in any order, resumable at any point.

The parent splits the gaps of a window into chunks; each worker (`indexer.workers`)
leases a chunk and steps through it. What is covered is never read again, so running a
backfill twice, or after it was killed, does only what is left. A worker that dies gives
its chunk to another.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from db import coverage
from db.engine import Refused
from db.errors import LeaseLost
from db.leases import (
    lease_range,
    release_leases_of_the_dead,
)
from db.position import BlockRange
from indexer.chain import Chain
from indexer.collector import settle_collector
from indexer.errors import Permanent, Retryable
from indexer.follow import CaughtUp, Leased, Wrote, backoff, first_line, step
from indexer.planning import know_children
from indexer.workers import WorkerPool

log = logging.getLogger(__name__)
T = TypeVar("T")

# Opens a chain for one process.
OpenChain = Callable[[], AbstractAsyncContextManager[Chain]]

MOST_RANGES = 50  # in a chunk
_MAX_FAILURES = 20  # retries of one step in a row before a worker gives up


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a backfill; blocks and facts since it began."""

    window: BlockRange
    missing_blocks: int
    done_blocks: int
    facts: int
    seconds: float

    @property
    def blocks_per_second(self) -> float:
        """Blocks written per second so far."""
        return self.done_blocks / self.seconds if self.seconds else 0.0

    @property
    def facts_per_second(self) -> float:
        """Facts written per second so far."""
        return self.facts / self.seconds if self.seconds else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to go at this rate, None before the first range."""
        rate = self.blocks_per_second
        return (self.missing_blocks - self.done_blocks) / rate if rate else None


Report = Callable[[Progress], None]


async def run_backfill(
    open_chain: OpenChain,
    *,
    first: int = 0,
    last: int | None = None,
    workers: int = 1,
    report: Report = lambda progress: None,
) -> Progress:
    """Write every missing block in first..last (None: the last that is final).

    Raises Permanent when a range cannot be read; what was written stays.
    """
    started = time.monotonic()
    settle_collector()
    pool = WorkerPool(partial(_work, open_chain), workers) if workers > 1 else None
    try:
        async with _opened(open_chain) as chain:
            if pool is not None:
                pool.open()  # they open theirs while it is looked what there is to do
            window = await _retried(lambda: backfill_window(chain, first, last))
            gaps = await _retried(
                lambda: asyncio.to_thread(missing_ranges, chain, window)
            )
            total = sum(gap.blocks for gap in gaps)
            counter = _ProgressCounter(window, total, started, report)
            if gaps and (pool is None or total < 2 * workers):
                await _work_chunk(chain, window, counter.add)
            elif gaps and pool is not None:
                if chain.streams:
                    reach = gaps[-1].last
                    await _retried(lambda: know_children(chain, reach, chain.streams))
                chunks = split(gaps, workers, chain.range_blocks * MOST_RANGES)
                release = partial(release_leases_of_the_dead, chain.engine, chain.id)
                await asyncio.to_thread(pool.run, chunks, counter.add, release)
            return counter.progress()
    finally:
        if pool is not None:
            pool.close()


async def run_range(open_chain: OpenChain, blocks: BlockRange) -> int:
    """Lease a range and write what is missing in it; returns the facts written."""
    facts = 0

    def add(_: int, more: int) -> None:
        nonlocal facts
        facts += more

    async with _opened(open_chain) as chain:
        await _work_chunk(chain, blocks, add)
    return facts


async def backfill_window(chain: Chain, first: int, last: int | None) -> BlockRange:
    """The blocks first..last (None: all) that are final.

    What may yet be undone is the follower's, so that none but it has to undo anything.
    """
    head = await chain.source.head()
    final = min(await chain.source.final_height(head), head.height)
    if final < first:
        raise Permanent(
            f"nothing to backfill: the chain's head is {head.height} and block {final} "
            f"the last that is final, below block {first}. Choose a lower --from; "
            "`chainfold index` reads what is above."
        )
    return BlockRange(first, final if last is None else min(last, final))


def missing_ranges(chain: Chain, window: BlockRange) -> list[BlockRange]:
    """The blocks of a window that any stream lacks, merged and in order."""
    with chain.engine.connect() as connection:
        gaps = coverage.missing(connection, chain.id, chain.streams, window)
    merged: list[BlockRange] = []
    for each in sorted(each for found in gaps.values() for each in found):
        if merged and each.first <= merged[-1].last + 1:
            last = max(merged[-1].last, each.last)
            merged[-1] = BlockRange(merged[-1].first, last)
        else:
            merged.append(each)
    return merged


def split(gaps: list[BlockRange], workers: int, most: int) -> list[BlockRange]:
    """Cut ranges into chunks of at most so many blocks, the first the longest.

    What is written in one transaction is folded once, so chunks are long; the last are
    short, so that no worker waits long for another.
    """
    left = sum(gap.blocks for gap in gaps)
    least = max(1, left // (workers * 16))
    chunks = []
    for gap in gaps:
        first = gap.first
        while first <= gap.last:
            size = min(most, max(least, left * 2 // (workers * 3)))
            chunks.append(BlockRange(first, min(first + size - 1, gap.last)))
            left -= chunks[-1].blocks
            first = chunks[-1].last + 1
    return chunks


class _ProgressCounter:
    """Adds up what was written and reports it."""

    def __init__(
        self, window: BlockRange, missing: int, started: float, report: Report
    ) -> None:
        self.window, self.missing = window, missing
        self.started, self.report = started, report
        self.blocks = self.facts = 0

    def add(self, blocks: int, facts: int) -> None:
        self.blocks += blocks
        self.facts += facts
        self.report(self.progress())

    def progress(self) -> Progress:
        seconds = time.monotonic() - self.started
        return Progress(self.window, self.missing, self.blocks, self.facts, seconds)


async def _run_window(chain: Chain, add: Callable[[int, int], None]) -> None:
    """Step through a chain's window until nothing is missing in it."""
    while True:
        outcome = await _retried(lambda: step(chain))
        if isinstance(outcome, (CaughtUp, Leased)):
            return
        if isinstance(outcome, Wrote):
            add(outcome.written.blocks.blocks, outcome.written.facts)


async def _retried(ask: Callable[[], Awaitable[T]]) -> T:
    """Do something that the chain or the database may refuse for a while.

    Raises Permanent when it has failed too often in a row.
    """
    failures = 0
    while True:
        try:
            return await ask()
        except (Retryable, Refused) as error:
            failures += 1
            cause = first_line(error)
            if failures > _MAX_FAILURES:
                raise Permanent(
                    f"gave up after {failures} tries: {cause}. Run the backfill again "
                    "when that is fixed; it continues where it stopped."
                ) from error
            log.warning("step_retried cause=%s", cause)
            await asyncio.sleep(backoff(failures))


@asynccontextmanager
async def _opened(open_chain: OpenChain) -> AsyncIterator[Chain]:
    """A chain, once chain and database let it be opened."""
    async with AsyncExitStack() as stack:
        yield await _retried(lambda: stack.enter_async_context(open_chain()))


def _work(open_chain: OpenChain, todo: Any, messages: Any, pid: int) -> None:
    """Work on chunks, in a process of its own."""
    settle_collector()
    asyncio.run(_work_on(open_chain, todo, messages, pid))


async def _work_on(open_chain: OpenChain, todo: Any, messages: Any, pid: int) -> None:
    async with _opened(open_chain) as chain:
        while True:
            chunk = await asyncio.to_thread(todo.get)
            messages.put(("took", pid, chunk))
            await _work_chunk(
                chain,
                chunk,
                lambda blocks, facts: messages.put(("wrote", pid, (blocks, facts))),
            )
            messages.put(("done", pid, None))


async def _work_chunk(
    chain: Chain, chunk: BlockRange, add: Callable[[int, int], None]
) -> None:
    """Write a chunk under a lease; waits while another backfill holds part of it.

    A lease that ran out, as when a node does not answer for minutes, is taken anew.
    """
    while True:
        lease = await _retried(
            lambda: asyncio.to_thread(lease_range, chain.engine, chain.id, chunk)
        )
        if lease is None:
            if not await _retried(lambda: asyncio.to_thread(_free_dead, chain)):
                log.info("chunk_waiting chain=%s blocks=%s", chain.name, chunk)
                await asyncio.sleep(1.0)
            continue
        chain.window, chain.guard, chain.own_leases = chunk, lease.guard, [chunk]
        try:
            await _run_window(chain, add)
            return
        except LeaseLost as error:
            log.warning("lease_lost chain=%s cause=%s", chain.name, error)
        finally:
            with suppress(Refused):  # it runs out by itself
                await asyncio.to_thread(lease.release, chain.engine)


def _free_dead(chain: Chain) -> int:
    return release_leases_of_the_dead(chain.engine, chain.id)
