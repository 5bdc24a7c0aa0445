"""Writing one range in one transaction: facts, rows, coverage, remembered blocks.

All of it commits or none of it. Facts of an event that has no coverage in the range are
new and are copied and merged. Where part of the range was written before (another
filter of the event, a repeated range), facts are inserted if they are not there yet,
and the keys of those that were new are recomputed, which is right in any case.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from db import blocks, coverage, outbox, proofs, sources, validators
from db.blocks import Header
from db.copy import copy_facts, insert_missing_facts, stored_events
from db.coverage import Stream
from db.facts import FactColumns
from db.folding import fold_in, unfold_from
from db.misplaced import forget_misplaced
from db.position import BlockRange
from db.proofs import Proof
from db.registry import Registry
from db.schema import check_declarations
from db.solana import listing, wallets
from db.sql.columns import fact_table
from indexer.errors import Contradiction, Reorg
from indexer.source import Batch
from indexer.streams import FACTORY

Guard = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Written:
    """The counts of what one transaction added."""

    blocks: BlockRange
    facts: int
    undecodable: int
    seconds: float
    children: int = 0  # that were not known before


def write_batch(
    engine: Engine,
    registry: Registry,
    source: int,
    batch: Batch,
    streams: Collection[Stream],
    guard: Guard | None = None,
) -> Written:
    """Write a range that was read for these streams.

    `guard` runs first in the transaction and raises when this process may not write.
    Raises Reorg when the headers contradict remembered blocks, StaleDeclarations when
    the tables were built from other declarations; nothing is written then.
    """
    started = time.monotonic()
    with engine.begin() as connection:
        check_declarations(connection, registry)
        if guard is not None:
            guard(connection)
        check_links(connection, source, batch.headers)
        fresh, seen = split_facts(connection, source, batch, streams)
        for facts in fresh:
            copy_facts(connection, fact_table(facts.event), source, facts)
        added = {
            facts.event.spec.id: insert_missing_facts(connection, source, facts)
            for facts in seen
        }
        fold_in(
            connection,
            registry,
            source,
            batch.range,
            new={facts.event.spec.id for facts in fresh},
            added={event: table for event, table in added.items() if table is not None},
        )
        proved = blocks.proved(batch.headers)
        children = cover(connection, registry, source, batch, streams, proved)
        if guard is not None:
            guard(connection)  # renewed at the end too: writing may take long
    return Written(
        batch.range,
        sum(len(facts) for facts in batch.facts),
        len(batch.undecodable),
        time.monotonic() - started,
        children,
    )


def rewrite_batch(
    engine: Engine, registry: Registry, source: int, batch: Batch, guard: Guard | None
) -> None:
    """Put right the positions of facts of a range that is covered, in one transaction.

    Facts that are stored under another number than in the batch are moved; all others
    stay. Raises as `write_batch`.
    """
    found = [facts for facts in batch.facts if len(facts)]
    with engine.begin() as connection:
        check_declarations(connection, registry)
        if guard is not None:
            guard(connection)
        check_links(connection, source, batch.headers)
        forget_misplaced(connection, source, found, batch.range)
        added = {
            f.event.spec.id: insert_missing_facts(connection, source, f) for f in found
        }
        there = {event: table for event, table in added.items() if table is not None}
        fold_in(connection, registry, source, batch.range, new=(), added=there)
        outbox.step_back(connection, source, batch.range)
        sources.forget_undecodable(connection, source, batch.range)
        cover(connection, registry, source, batch, (), blocks.proved(batch.headers))


def rewind(
    engine: Engine,
    registry: Registry,
    source: int,
    height: int,
    guard: Guard | None = None,
) -> int:
    """Undo everything at or above a height, exactly; returns the facts deleted.

    Keys that the deleted facts touched are recomputed from the facts that remain.
    """
    with engine.begin() as connection:
        check_declarations(connection, registry)
        if guard is not None:
            guard(connection)
        deleted = unfold_from(connection, registry, source, height)
        coverage.unmark_from(connection, source, height)
        blocks.forget_from(connection, source, height)
        validators.forget_from(connection, source, height)
        sources.forget_from(connection, source, height)
        sources.notify(connection, source, BlockRange(height, height))
    return deleted


def check_links(connection: Connection, source: int, headers: Sequence[Header]) -> None:
    """Raise Reorg when headers contradict remembered blocks."""
    broken = blocks.broken_link(connection, source, headers)
    if broken is not None:
        raise Reorg(
            broken,
            f"block {broken} is not the one that was written before: "
            "find the fork and rewind to it",
        )


def split_facts(
    connection: Connection, source: int, batch: Batch, streams: Collection[Stream]
) -> tuple[list[FactColumns], list[FactColumns]]:
    """The facts of events of which nothing was written in the range, and the others.

    What was written may have to be read again, and is not covered then; its facts stay.
    """
    wanted = {stream.event for stream in streams}
    found = [f for f in batch.facts if len(f) and f.event.spec.id in wanted]
    if not found:
        return [], []
    covered = coverage.events_covered(connection, source, batch.range)
    others = [facts for facts in found if facts.event.spec.id not in covered]
    known = covered | stored_events(connection, source, others)
    fresh = [facts for facts in found if facts.event.spec.id not in known]
    return fresh, [facts for facts in found if facts.event.spec.id in known]


def cover(
    connection: Connection,
    registry: Registry,
    source: int,
    batch: Batch,
    streams: Collection[Stream],
    proved: Iterable[tuple[int, Proof]],
) -> int:
    """Record a range as written, and everything in it beside facts.

    `proved` gives the heights and levels of its blocks. Returns how many children were
    not known before. Raises Contradiction when the chain has shown other traits.
    """
    contrary = sources.learn(connection, source, batch.traits)
    if contrary:
        raise Contradiction(
            "what was read contradicts what the chain has shown before "
            f"({', '.join(contrary)}): the node may hide something, read again"
        )
    blocks.store(connection, source, batch.headers)
    proofs.record(connection, source, proved)
    if batch.validators is not None:
        validators.store(connection, source, batch.validators)
    store_oddities(connection, source, batch)
    late, own = _store_children(connection, registry, source, batch, streams)
    coverage.record(connection, source, streams, batch.range)
    wallets.open_again(connection, source, own, batch.range)
    found = {row["address"] for row in late if row["contract"] in own}
    wallets.open_again(connection, source, own, found=found)
    sources.notify(connection, source, batch.range)
    return len({(row["contract"], row["address"]) for row in late})


def store_oddities(connection: Connection, source: int, batch: Batch) -> None:
    """Store undecodable logs and failed transactions of a range."""
    if batch.listed:
        programs = {address for address, _ in batch.listed}
        listing.forget_unknown(connection, source, batch.range, programs)
    undecodable = [
        {**asdict(log), "topics": list(log.topics)} for log in batch.undecodable
    ]
    transactions = [asdict(transaction) for transaction in batch.transactions]
    failed = [asdict(transaction) for transaction in batch.failed]
    sources.store_oddities(connection, source, undecodable, transactions, failed)
    if batch.listed:
        listing.mark_written(connection, source, batch.range, batch.listed)


def _store_children(
    connection: Connection,
    registry: Registry,
    source: int,
    batch: Batch,
    streams: Collection[Stream],
) -> tuple[list[dict[str, Any]], set[str]]:
    """Remember the children that a range announced; returns those that were not known.

    Where later blocks were read without one of them, they are to be read again: a node
    may have held it back when it was asked for the children alone, which nothing
    proves, while all logs of a block must fit its bloom. Also returns the filters of
    the wallets that are written, or of which a token account was found.
    """
    rows = [asdict(child) for child in batch.children]
    own = wallets.lock(connection, source, streams, rows)
    late = sources.late_children(connection, source, rows)
    sources.store_children(connection, source, late)
    for name in sorted({row["contract"] for row in late}):
        height = min(row["height"] for row in late if row["contract"] == name)
        events = registry.events_of(name)
        filters = {FACTORY + m for event in events for m in event.spec.source.makers}
        coverage.unmark_filters(
            connection, source, [e.spec.id for e in events], sorted(filters), height
        )
    return late, own
