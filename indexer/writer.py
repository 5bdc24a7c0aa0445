"""Writing one range in one transaction: facts, rows, coverage, remembered blocks.

All of it commits or none of it. Facts of an event that has no coverage in the range are
new and are copied and merged. Where part of the range was written before (another
filter of the event, a repeated range), facts are inserted if they are not there yet,
and the keys of those that were new are recomputed, which is right in any case.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, Table, bindparam, delete, func, select, text

from db import blocks, coverage, sources
from db.copy import copy_facts
from db.coverage import Stream
from db.declare import Event
from db.declare.events import EventView
from db.declare.projections import ProjectionSpec
from db.engine import lock_projection
from db.facts import FactColumns
from db.position import BlockRange, position
from db.registry import Registry
from db.schema import check_declarations
from db.sql.columns import fact_table
from db.sql.keys import touched_keys
from db.sql.merge import merge
from db.sql.repair import recompute
from indexer.errors import Reorg
from indexer.source import Batch

Guard = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Written:
    """What one transaction added."""

    blocks: BlockRange
    facts: int
    undecodable: int
    seconds: float


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
        _check_links(connection, source, batch)
        fresh, seen = _split(connection, source, batch, streams)
        for facts in fresh:
            copy_facts(connection, fact_table(facts.event), source, facts)
        added = [_insert_missing(connection, source, facts) for facts in seen]
        new = {facts.event.spec.id for facts in fresh}
        partly = {event.spec.id: at for event, at in added if at is not None}
        for projection in registry.projections.values():
            _fold(connection, projection.spec, source, batch.range, new, partly)
        _store_rest(connection, source, batch)
        coverage.mark(connection, source, streams, batch.range)
        _notify(connection, source, batch.range)
    return Written(
        batch.range,
        sum(len(facts) for facts in batch.facts),
        len(batch.undecodable),
        time.monotonic() - started,
    )


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
    bounds = {
        "source": source,
        "lowest": position(height, 0),
        "highest": (1 << 63) - 1,
    }
    with engine.begin() as connection:
        check_declarations(connection, registry)
        if guard is not None:
            guard(connection)
        touched: list[tuple[ProjectionSpec, Table]] = []
        for projection in registry.projections.values():
            lock_projection(connection, projection.spec.plural, alone=True)
            found = touched_keys(connection, projection.spec, bounds)
            touched.append((projection.spec, found))
        deleted = 0
        for event in registry.events.values():
            table = fact_table(event)
            result = connection.execute(
                delete(table).where(
                    table.c.source == source, table.c.position >= bounds["lowest"]
                )
            )
            deleted += result.rowcount
        for spec, found in touched:
            recompute(connection, spec, found)
        _forget(connection, source, height)
        _notify(connection, source, BlockRange(height, height))
    return deleted


def _check_links(connection: Connection, source: int, batch: Batch) -> None:
    broken = blocks.broken_link(connection, source, batch.headers)
    if broken is not None:
        raise Reorg(
            broken,
            f"block {broken} is not the one that was written before: "
            "find the fork and rewind to it",
        )


def _split(
    connection: Connection, source: int, batch: Batch, streams: Collection[Stream]
) -> tuple[list[FactColumns], list[FactColumns]]:
    """The facts of events with no coverage at all in the range, and the others."""
    wanted = {stream.event for stream in streams}
    filters = connection.execute(
        text(
            "SELECT event FROM control.coverage WHERE source = :source"
            " AND blocks && int8range(:first, :last, '[]')"
        ),
        {"source": source, "first": batch.range.first, "last": batch.range.last},
    )
    covered = set(filters.scalars())
    fresh: list[FactColumns] = []
    seen: list[FactColumns] = []
    for facts in batch.facts:
        if not len(facts) or facts.event.spec.id not in wanted:
            continue
        (seen if facts.event.spec.id in covered else fresh).append(facts)
    return fresh, seen


def _insert_missing(
    connection: Connection, source: int, facts: FactColumns
) -> tuple[type[Event], Table | None]:
    """Insert the facts that are not there yet; their positions, None if none was new."""
    table = fact_table(facts.event)
    staged = Table(f"staged_{table.name}", table.metadata.__class__())
    for column in table.columns:
        staged.append_column(column._copy())
    quote = connection.dialect.identifier_preparer.format_table
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {quote(staged)} (LIKE {quote(table)}) ON COMMIT DROP"
    )
    copy_facts(connection, staged, source, facts)
    new = f"new_{table.name}"
    preparer = connection.dialect.identifier_preparer
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {preparer.quote(new)} (position bigint) ON COMMIT DROP"
    )
    result = connection.exec_driver_sql(
        f"WITH added AS (INSERT INTO {quote(table)} SELECT * FROM {quote(staged)}"
        " ORDER BY position ON CONFLICT (source, position) DO NOTHING"
        f" RETURNING position) INSERT INTO {preparer.quote(new)} SELECT * FROM added"
    )
    positions = Table(new, staged.metadata)
    positions.append_column(table.c.position._copy())
    return facts.event, positions if result.rowcount else None


def _fold(
    connection: Connection,
    spec: ProjectionSpec,
    source: int,
    blocks_: BlockRange,
    new: Collection[str],
    partly: Mapping[str, Table],
) -> None:
    """Bring one projection up to date with the facts of this transaction."""
    read = {event.spec.id for event in spec.events}
    merged = read & set(new)
    repaired = read & set(partly)
    if not merged and not repaired:
        return
    alone = spec.replayed or bool(repaired)
    lock_projection(connection, spec.plural, alone=alone)
    if merged:
        merge(connection, spec, source=source, blocks=blocks_, events=frozenset(merged))
    if repaired:
        bounds = {"source": source}

        def only_new(view: EventView, table: Table) -> Sequence:  # type: ignore[type-arg]
            positions = partly[view.event.spec.id]
            return [
                table.c.source == bindparam("source", type_=table.c.source.type),
                table.c.position.in_(select(positions.c.position)),
            ]

        found = touched_keys(connection, spec, bounds, repaired, only_new)
        recompute(connection, spec, found)


def _store_rest(connection: Connection, source: int, batch: Batch) -> None:
    blocks.remember(connection, source, batch.headers)
    sources.store_children(
        connection, source, [asdict(child) for child in batch.children]
    )
    undecodable = [asdict(log) for log in batch.undecodable]
    for row in undecodable:
        row["topics"] = list(row["topics"])
    transactions = [asdict(transaction) for transaction in batch.transactions]
    sources.store_oddities(connection, source, undecodable, transactions)


def _forget(connection: Connection, source: int, height: int) -> None:
    coverage.unmark_from(connection, source, height)
    blocks.forget_from(connection, source, height)
    parameters = {"source": source, "height": height, "lowest": position(height, 0)}
    for statement in (
        "DELETE FROM control.child WHERE source = :source AND height >= :height",
        "DELETE FROM control.undecodable_log"
        " WHERE source = :source AND position >= :lowest",
        "DELETE FROM control.sender_transaction"
        " WHERE source = :source AND position >= :lowest",
    ):
        connection.execute(text(statement), parameters)


def _notify(connection: Connection, source: int, blocks_: BlockRange) -> None:
    """Wake whoever waits for this chain; delivered at commit."""
    payload = f"{source}:{blocks_.first}:{blocks_.last}"
    connection.execute(select(func.pg_notify("chainfold", payload)))
