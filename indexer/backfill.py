"""Writing past ranges with several processes, in any order, resumable at any point.

The parent splits the gaps of a window into chunks; each worker leases a chunk and steps
through it. What is covered is never read again, so running a backfill twice, or after
it was killed, does only what is left. A worker that dies gives its chunk to another.
"""

import asyncio
import logging
import multiprocessing
import os
import queue
import signal
import threading
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
from multiprocessing.process import BaseProcess
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

log = logging.getLogger(__name__)
T = TypeVar("T")

# Opens a chain for one process; must be picklable, as workers begin with nothing.
OpenChain = Callable[[], AbstractAsyncContextManager[Chain]]

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
    async with _opened(open_chain) as chain:
        window = await _retried(lambda: backfill_window(chain, first, last))
        gaps = await _retried(lambda: asyncio.to_thread(missing_ranges, chain, window))
        total = sum(gap.blocks for gap in gaps)
        counter = _ProgressCounter(window, total, started, report)
        if workers == 1 or total < 2 * workers:
            if gaps:
                await _work_chunk(chain, window, counter.add)
            return counter.progress()
        if chain.streams and gaps:
            last_missing = gaps[-1].last
            await _retried(lambda: know_children(chain, last_missing, chain.streams))
        chunks = split(gaps, workers * 4, chain.range_blocks)
        release = partial(release_leases_of_the_dead, chain.engine, chain.id)
        pool = _WorkerPool(open_chain, chunks, counter.add, release)
        try:
            await asyncio.to_thread(pool.run, workers)
        finally:
            pool.ending.set()
    return counter.progress()


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


def split(gaps: list[BlockRange], pieces: int, most: int) -> list[BlockRange]:
    """Cut ranges into about this many chunks, none longer than ten times `most`."""
    total = sum(gap.blocks for gap in gaps)
    size = max(1, min(-(-total // pieces), most * 10))
    return [
        BlockRange(first, min(first + size - 1, gap.last))
        for gap in gaps
        for first in range(gap.first, gap.last + 1, size)
    ]


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


class _WorkerPool:
    """The worker processes of one backfill; one that dies is replaced, twice."""

    def __init__(
        self,
        open_chain: OpenChain,
        chunks: list[BlockRange],
        add: Callable[[int, int], None],
        release: Callable[[], int],
    ) -> None:
        # One process imports what all workers need, and they are forks of it.
        self.context = multiprocessing.get_context("forkserver")
        opener: Any = getattr(open_chain, "func", open_chain)
        self.context.set_forkserver_preload([__name__, opener.__module__])
        self.todo: Any = self.context.Queue()
        self.messages: Any = self.context.Queue()
        self.open_chain, self.add, self.release = open_chain, add, release
        self.running: list[BaseProcess] = []
        self.held: dict[int, BlockRange] = {}
        self.left = len(chunks)
        self.ending = threading.Event()
        self.spare = 2
        for chunk in chunks:
            self.todo.put(chunk)

    def run(self, workers: int) -> None:
        """Work until every chunk is done."""
        for _ in range(min(workers, self.left)):
            self.start()
        try:
            while self.left and not self.ending.is_set():
                self.handle(*_next_message(self.messages))
                for process in [p for p in self.running if p.exitcode is not None]:
                    self.replace(process)
        finally:
            for process in self.running:
                process.terminate()
            for process in self.running:
                process.join(10)

    def start(self) -> None:
        """Start one more process."""
        process = self.context.Process(
            target=_worker,
            args=(self.open_chain, self.todo, self.messages),
            daemon=True,
        )
        process.start()
        self.running.append(process)

    def handle(self, kind: str, pid: int, value: Any) -> None:
        """Handle a worker's message."""
        if kind == "took":
            self.held[pid] = value
        elif kind == "wrote":
            self.add(*value)
        elif kind == "done":
            self.held.pop(pid, None)
            self.left -= 1
        elif kind == "failed":
            raise Permanent(value)

    def replace(self, process: BaseProcess) -> None:
        """Give the chunk of a dead process to a new one."""
        self.running.remove(process)
        if self.spare == 0:
            raise Permanent(
                f"workers keep dying (exit code {process.exitcode}). What was written "
                "stays; look at the log, then run the backfill again."
            )
        self.spare -= 1
        log.warning("worker_died pid=%s exit=%s", process.pid, process.exitcode)
        with suppress(Refused):  # whoever takes the range frees it then
            self.release()
        if process.pid in self.held:
            self.todo.put(self.held.pop(process.pid))
        self.start()


def _next_message(messages: Any) -> tuple[str, int, Any]:
    try:
        message: tuple[str, int, Any] = messages.get(timeout=0.5)
    except queue.Empty:
        return "", 0, None
    return message


def _worker(open_chain: OpenChain, todo: Any, messages: Any) -> None:
    """One worker process: chunks until it is told to stop."""
    pid = multiprocessing.current_process().pid or 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    _end_with_parent()
    settle_collector()
    try:
        asyncio.run(_work(open_chain, todo, messages, pid))
    except Exception as error:  # the outer loop of a process: tell the parent
        messages.put(("failed", pid, str(error)))
        messages.close()
        messages.join_thread()


def _end_with_parent() -> None:
    """End this process at once when its parent has ended, however that came about."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


async def _work(open_chain: OpenChain, todo: Any, messages: Any, pid: int) -> None:
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
