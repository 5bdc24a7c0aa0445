"""Adding new facts to the rows of a projection.

    INSERT INTO state.p (…) SELECT … <fold of the new facts> ORDER BY <keys>
    ON CONFLICT (source, <keys>) DO UPDATE SET <fold> = <stored combined with new>

Rows are locked in key order, and each statement after the first touches only rows that
the first has locked, so merges of any number of workers cannot deadlock. The caller
holds the lock of the projection (`db.engine.lock_projection`): shared, or alone for a
replayed projection.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select
from sqlalchemy.dialects.postgresql import Insert, insert

from db.declare import CountDistinct
from db.declare.projections import ProjectionSpec
from db.position import BlockRange
from db.sql import keys, repair, replay
from db.sql.columns import VALUE, member_folds, member_table, state_table
from db.sql.fold import (
    Restrict,
    branches,
    facts_union,
    fold_select,
    just_written,
    within_range,
)
from db.sql.folds import sql_folds
from db.sql.folds.distinct import member_value
from db.sql.statements import cached_by_events


def merge(
    connection: Connection,
    spec: ProjectionSpec,
    *,
    source: int,
    blocks: BlockRange,
    events: frozenset[str],
) -> None:
    """Merge the facts of these events in a range; they must all be new."""
    bounds = {"source": source, "lowest": blocks.lowest, "highest": blocks.highest}
    if spec.replayed:
        _merge_replayed(connection, spec, bounds, events)
        return
    connection.execute(merge_statement(spec, events), bounds)
    for fold in member_folds(spec):
        statement = member_statement(spec, fold, events)
        if statement is not None:
            connection.execute(statement, bounds)


def follow_on(
    connection: Connection,
    spec: ProjectionSpec,
    *,
    source: int,
    blocks: BlockRange,
    events: frozenset[str],
) -> None:
    """Merge the facts of these events in a range that follow all those folded before.

    The caller lets nobody else write facts of the source meanwhile, as the journal
    does: no key can be late, and none needs to be looked for.
    """
    bounds = {"source": source, "lowest": blocks.lowest, "highest": blocks.highest}
    connection.execute(follow_statement(spec, events), bounds)
    for fold in member_folds(spec):
        statement = member_statement(spec, fold, events, within_range)
        if statement is not None:
            connection.execute(statement, bounds)
    replay.advance(connection, spec, bounds, events, None)


@cached_by_events
def follow_statement(spec: ProjectionSpec, events: frozenset[str]) -> Insert:
    """The upsert of what a range folds to, Stages going on from their rows."""
    stored = state_table(spec)
    return _upsert(spec, fold_select(spec, within_range, events=events, stored=stored))


@cached_by_events
def merge_statement(spec: ProjectionSpec, events: frozenset[str]) -> Insert:
    """The upsert of what a range folds to; binds source, lowest, highest."""
    return _upsert(spec, fold_select(spec, just_written, events=events))


def _upsert(spec: ProjectionSpec, rows: Select[Any]) -> Insert:
    table = state_table(spec)
    names = ["source", *spec.keys]
    # Planned apart, so that grouping needs no sort of all facts, only one of the rows.
    folded = rows.cte("folded").prefix_with("MATERIALIZED")
    folds = sql_folds(spec)
    taken = [*names, *(name for fold in folds for name in fold.merged)]
    statement = insert(table).from_select(
        taken,
        select(*(folded.c[name] for name in taken)).order_by(
            *(folded.c[name] for name in names)
        ),
    )
    changes: dict[str, ColumnElement[Any]] = {}
    for fold in folds:
        changes.update(fold.combine(table.c, statement.excluded))
    if not changes:
        # Even when only values are counted, the row must exist and be locked.
        first = folds[0].name
        changes = {first: table.c[first]}
    return statement.on_conflict_do_update(index_elements=names, set_=changes)


@cached_by_events
def member_statement(
    spec: ProjectionSpec,
    fold: CountDistinct,
    events: frozenset[str],
    restrict: Restrict = just_written,
) -> Insert | None:
    """Remember new values and add how many there were to the rows."""
    arms = [arm for arm in branches(spec, events) if fold.name in arm.values]
    if not arms:
        return None
    names = ["source", *spec.keys]
    facts = facts_union(spec, arms, restrict)
    value = member_value(fold, facts)
    members = member_table(spec, fold)
    fresh = insert(members).from_select(
        [*names, VALUE],
        select(*(facts.c[name] for name in names), value)
        .where(facts.c[f"v_{fold.name}"].is_not(None))
        .distinct()
        .order_by(*(facts.c[name] for name in names), value),
    )
    added = (
        fresh.on_conflict_do_nothing()
        .returning(*(members.c[name] for name in names))
        .cte("added")
    )
    table = state_table(spec)
    grouped = (
        select(*(added.c[name] for name in names), func.count().label("_new"))
        .group_by(*(added.c[name] for name in names))
        .order_by(*(added.c[name] for name in names))
    )
    statement = insert(table).from_select([*names, fold.name], grouped)
    return statement.on_conflict_do_update(
        index_elements=names,
        set_={fold.name: table.c[fold.name] + statement.excluded[fold.name]},
    )


def _merge_replayed(
    connection: Connection,
    spec: ProjectionSpec,
    bounds: dict[str, int],
    events: frozenset[str],
) -> None:
    """Go on from the stored state where all new facts are later, else recompute."""
    late = keys.late_keys(connection, spec, bounds, events)
    connection.execute(_go_on_statement(spec, events, late), bounds)
    for fold in member_folds(spec):
        statement = member_statement(spec, fold, events)
        if statement is not None:
            connection.execute(statement, bounds)
    replay.advance(connection, spec, bounds, events, late)
    repair.recompute(connection, spec, late)


@cached_by_events
def _go_on_statement(
    spec: ProjectionSpec, events: frozenset[str], late: Table
) -> Insert:
    """The upsert for the keys that are not late, Stages going on from their rows."""
    restrict = keys.outside(spec, late, just_written)
    rows = fold_select(spec, restrict, events=events, stored=state_table(spec))
    return _upsert(spec, rows)
