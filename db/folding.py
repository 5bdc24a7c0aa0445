"""Bringing projections up to date with facts that came or went, in one transaction.

Projections are taken in order of name and their rows in order of key, so that writers
working side by side cannot deadlock.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    SmallInteger,
    Table,
    bindparam,
    column,
    delete,
    select,
    table,
    text,
)

from db.control import declaration
from db.copy import delete_facts
from db.declare.events import EventView
from db.declare.projections import ProjectionSpec
from db.engine import lock_projection
from db.position import BlockRange, position
from db.registry import Registry
from db.sql.columns import FACTS
from db.sql.keys import touched_keys
from db.sql.merge import follow_on, merge
from db.sql.repair import recompute

# Until commit. Postgres does not know how many facts a transaction has just copied, and
# would sort all of them in order to group them.
_GROUP_BY_HASH = text("SET LOCAL work_mem = '64MB'; SET LOCAL enable_sort = off")


def fold_in(
    connection: Connection,
    registry: Registry,
    source: int,
    blocks: BlockRange,
    *,
    new: Collection[str],
    added: Mapping[str, Table],
    many: bool = False,
) -> None:
    """Fold the facts of a range into every projection that reads them.

    `new` are the events whose facts in the range are all new: they are merged. `added`
    gives, for other events, the positions of the facts that were added: the keys of
    those are recomputed. With `many` facts they are grouped by hash and in memory.
    """
    if many:
        connection.execute(_GROUP_BY_HASH)
    for projection in registry.projections.values():
        spec = projection.spec
        read = _read_by(spec)
        merged, repaired = read & frozenset(new), read & frozenset(added)
        if not merged and not repaired:
            continue
        alone = spec.replayed or bool(repaired)
        lock_projection(connection, spec.plural, alone=alone)
        if merged:
            merge(connection, spec, source=source, blocks=blocks, events=merged)
        if repaired:
            _repair_added(connection, spec, source, repaired, added)


def fold_next(
    connection: Connection, registry: Registry, source: int, height: int, event: str
) -> None:
    """Fold the facts of one event in the block that follows all others of a source.

    The caller lets nobody else write blocks of the source, or rows folded from them,
    until it commits: no lock is taken here.
    """
    blocks = BlockRange(height, height)
    for projection in registry.projections.values():
        spec = projection.spec
        if event in _read_by(spec):
            only = frozenset({event})
            follow_on(connection, spec, source=source, blocks=blocks, events=only)


def is_folded(registry: Registry, event: str) -> bool:
    """Whether any projection reads an event."""
    return any(event in _read_by(p.spec) for p in registry.projections.values())


def unfold_from(
    connection: Connection, registry: Registry, source: int, height: int
) -> int:
    """Delete the facts at or above a height and undo them; how many there were."""
    lowest = position(height, 0)
    bounds = {"source": source, "lowest": lowest, "highest": (1 << 63) - 1}
    touched = []
    for projection in registry.projections.values():
        if projection.spec.in_journal:
            continue  # what was said is never undone
        lock_projection(connection, projection.spec.plural, alone=True)
        keys = touched_keys(connection, projection.spec, bounds)
        touched.append((projection.spec, keys))
    deleted = sum(
        delete_facts(connection, event, source, lowest)
        for event in registry.events.values()
        if not event.spec.in_journal
    )
    deleted += _delete_undeclared(connection, registry, source, lowest)
    for spec, keys in touched:
        recompute(connection, spec, keys)
    return deleted


@cache
def _read_by(spec: ProjectionSpec) -> frozenset[str]:
    """The events that a projection reads, found once: every append asks it of all."""
    return frozenset(event.spec.id for event in spec.events)


def _delete_undeclared(
    connection: Connection, registry: Registry, source: int, lowest: int
) -> int:
    """Delete facts of events that are kept though no longer declared.

    Their coverage is forgotten with all the rest: declared again, the event is read
    anew, and must not meet facts of blocks that are gone.
    """
    query = select(declaration.c.relation).where(
        declaration.c.kind == "event",
        declaration.c.name.not_in(list(registry.events)),
    )
    deleted = 0
    for relation in connection.execute(query).scalars().all():
        columns = column("source", SmallInteger), column("position", BigInteger)
        facts = table(relation, *columns, schema=FACTS)
        result = connection.execute(
            delete(facts).where(facts.c.source == source, facts.c.position >= lowest)
        )
        deleted += int(result.rowcount)
    return deleted


def _repair_added(
    connection: Connection,
    spec: ProjectionSpec,
    source: int,
    events: Collection[str],
    added: Mapping[str, Table],
) -> None:
    def only_added(view: EventView, facts: Table) -> Sequence[ColumnElement[bool]]:
        positions = added[view.event.spec.id]
        return [
            facts.c.source == bindparam("source", type_=facts.c.source.type),
            facts.c.position.in_(select(positions.c.position)),
        ]

    keys = touched_keys(connection, spec, {"source": source}, events, only_added)
    recompute(connection, spec, keys)
