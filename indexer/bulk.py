"""Writing many adjacent ranges of history in one transaction.

How much is read at once follows from answers and memory; how much is folded at once,
from rows: a row is updated once for all facts of a transaction. So the facts of range
after range are copied as they come, and folded together at the end, with what says that
the blocks are covered. Nothing that other writers wait for is locked before that. Only
final blocks are written so, and only where no fact of theirs is there already.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from db import blocks, sources
from db.blocks import Header
from db.copy import copy_facts
from db.declare import Replay
from db.engine import Refused
from db.folding import fold_in
from db.position import BlockRange
from db.proofs import Proof
from db.schema import check_declarations
from db.sql.columns import fact_table
from db.validators import ValidatorSet
from indexer.ahead import MOST_BATCHES, read_on
from indexer.chain import Ahead, Chain
from indexer.errors import Retryable
from indexer.planning import resize
from indexer.source import Batch, Child
from indexer.writer import Written, check_links, cover, split_facts, store_oddities

MOST_BLOCKS = 50_000
GUARD_SECONDS = 1.0  # between two renewals of the lease, before that of the commit
MOST_REPLAYED = 200_000  # facts, where a reducer is given those of a key as a list


async def write_bulk(
    chain: Chain, first: Ahead, reach: int, final: int
) -> Written | None:
    """Write a range that was read, and those above it as they are read.

    Ends after `bulk_facts` facts or `bulk_seconds`, and before a range that may yet be
    undone. Returns None, and has written nothing, when some facts of the first range
    may be there already. Raises what `write_batch` raises; nothing is written then.
    """
    bulk = Bulk(chain, first, reach)
    try:
        ready: Ahead | None = first
        while ready is not None:
            if not await asyncio.to_thread(bulk.add, ready.task.result()):
                break
            ready = await _next(chain, bulk, reach, final)
        if ready is not None:
            if bulk.range is None:
                await asyncio.to_thread(bulk.abandon)
                return None
            chain.ahead.appendleft(ready)
        return await asyncio.to_thread(bulk.commit)
    except BaseException:
        chain.bulk_from = bulk.last + 1  # up to there one range a transaction
        await asyncio.to_thread(bulk.abandon)
        raise


def is_history(chain: Chain, ready: Ahead) -> bool:
    """Whether a range is final, was not tried in vain, and others follow it."""
    blocks = ready.planned[0]
    return (
        chain.bulk_facts > 0
        and bool(chain.ahead)
        and blocks.last <= ready.final
        and blocks.first >= chain.bulk_from
    )


async def _next(chain: Chain, bulk: "Bulk", reach: int, final: int) -> Ahead | None:
    """Wait for the range above, as long as it may be added."""
    written = bulk.range
    assert written is not None
    await read_on(chain, reach, final, (written, bulk.streams))
    left = bulk.ends_at - time.monotonic()
    if not chain.ahead or left <= 0 or bulk.is_full():
        return None
    following = chain.ahead[0]
    if following.planned[0].last > following.final:
        return None
    # Where reading is slower than copying, it goes on while these are folded.
    if bulk.facts >= MOST_BATCHES * chain.batch_facts and not following.task.done():
        return None
    await asyncio.wait([following.task], timeout=left)
    # A failure is met when the range is the next to be written.
    if not following.task.done() or following.task.cancelled():
        return None
    if following.task.exception() is not None:
        return None
    return chain.ahead.popleft()


class _Abandoned(Exception):
    """The transaction is to be undone."""


@dataclass(slots=True)
class _Kept:
    """Rows that are written last, as other writers may wait for them."""

    headers: Sequence[Header] = ()  # the first and the last
    proved: list[tuple[int, Proof]] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    traits: dict[str, str] = field(default_factory=dict)
    validators: ValidatorSet | None = None
    undecodable: int = 0

    def add(self, batch: Batch) -> None:
        first = (self.headers or batch.headers)[:1]  # a range may have no block
        self.headers = [*first, *batch.headers[-1:]]
        self.proved += blocks.proved(batch.headers)
        self.children += batch.children
        self.traits |= batch.traits
        self.validators = batch.validators or self.validators
        self.undecodable += len(batch.undecodable)


class Bulk:
    """One transaction, open while ranges are added to it.

    Its methods run in threads, one at a time.
    """

    def __init__(self, chain: Chain, first: Ahead, reach: int) -> None:
        self.range: BlockRange | None = None  # what was added
        self.last = first.planned[0].last  # of what was added, or was to be
        self.streams = first.planned[1]
        self.facts = 0
        self._chain, self._reach = chain, reach
        self._started = time.monotonic()
        self._guarded_at = -GUARD_SECONDS
        self.ends_at = self._started + chain.bulk_seconds
        self._events: set[str] = set()
        self._kept = _Kept()
        self._known_children = 0
        self._open = ExitStack()
        self._connection = self._open.enter_context(chain.engine.begin())
        self._lock = threading.Lock()

    def is_full(self) -> bool:
        """Whether as much was added as one transaction should hold."""
        most = self._chain.bulk_facts
        projections = self._chain.registry.projections.values()
        folds = (fold for each in projections for fold in each.spec.folds.values())
        if any(isinstance(fold, Replay) for fold in folds):
            most = min(most, MOST_REPLAYED)
        written = self.range
        return self.facts >= most or (
            written is not None and written.blocks >= MOST_BLOCKS
        )

    def add(self, batch: Batch) -> bool:
        """Copy the facts of the next range, unless some may be there already.

        Returns whether it was added. Raises Reorg when its headers contradict
        remembered blocks or those added before.
        """
        chain, connection = self._chain, self._connection
        with self._lock:
            self.last = batch.range.last
            now = time.monotonic()
            if chain.guard is not None and now >= self._guarded_at + GUARD_SECONDS:
                with chain.engine.begin() as short:  # here its row would stay locked
                    chain.guard(short)
                self._guarded_at = now
            if self.range is None:
                check_declarations(connection, chain.registry)
                self._known_children = self._children_of_others()
            check_links(connection, chain.id, batch.headers)
            fresh, seen = split_facts(connection, chain.id, batch, self.streams)
            if seen:
                return False
            for facts in fresh:
                copy_facts(connection, fact_table(facts.event), chain.id, facts)
                self._events.add(facts.event.spec.id)
            blocks.store(connection, chain.id, batch.headers)
            store_oddities(connection, chain.id, batch)
            self._kept.add(batch)
            first = batch.range.first if self.range is None else self.range.first
            self.range = BlockRange(first, batch.range.last)
            count = sum(len(facts) for facts in batch.facts)
            self.facts += count
            resize(chain, batch.range.blocks, count)
            return True

    def commit(self) -> Written:
        """Fold what was added, record what is covered, and commit."""
        chain, connection, kept = self._chain, self._connection, self._kept
        written = self.range
        assert written is not None
        with self._lock:
            if chain.guard is not None:
                chain.guard(connection)
            # Others may have written beside these blocks since they were compared.
            check_links(connection, chain.id, kept.headers)
            fold_in(
                connection, chain.registry, chain.id, written,
                new=self._events, added={}, many=True,
            )  # fmt: skip
            batch = Batch(
                written, kept.headers, [], kept.children,
                traits=kept.traits, validators=kept.validators,
            )  # fmt: skip
            children = cover(
                connection, chain.registry, chain.id, batch, self.streams, kept.proved
            )
            # The coverage of their events is locked: no more are found below it now.
            if self._children_of_others() > self._known_children:
                raise Retryable(
                    f"another process found contracts while blocks {written} were "
                    "written: read them again, with what those did"
                )
            if chain.guard is not None:
                chain.guard(connection)  # renewed at the end too
            self._open.close()
        seconds = time.monotonic() - self._started
        return Written(written, self.facts, kept.undecodable, seconds, children)

    def abandon(self) -> None:
        """Undo what was added; once, whatever state the connection is in."""
        with self._lock, suppress(_Abandoned, Refused):
            self._open.__exit__(_Abandoned, _Abandoned(), None)

    def _children_of_others(self) -> int:
        connection, chain = self._connection, self._chain
        return sources.children_of_others(connection, chain.id, self._reach)
