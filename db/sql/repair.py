"""Recomputing given keys of a projection from their facts.

Keys to repair stand in a temporary table (source, keys, first: the lowest position of
the facts that touched the key). Repair deletes their rows and inserts what all their
facts fold to; a key with no facts left has no row. The caller holds the projection's
lock alone, so that no merge can add to a row that is being recomputed.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    MetaData,
    Table,
    and_,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from db.declare.events import EventView
from db.declare.projections import ProjectionSpec
from db.sql import replay
from db.sql.columns import member_folds, member_table, state_table
from db.sql.fold import (
    Restrict,
    branches,
    facts_union,
    fold_select,
    key_columns,
    within_range,
)
from db.sql.statements import create_table_as

_serial = itertools.count()


def touched_keys(
    connection: Connection,
    spec: ProjectionSpec,
    bounds: Mapping[str, int],
    events: Collection[str] | None = None,
    restrict: Restrict = within_range,
) -> Table:
    """The keys of the facts in a range, as a temporary table dropped at commit."""
    arms = branches(spec, events)
    facts = facts_union(spec, arms, restrict)
    group = [facts.c.source, *(facts.c[key] for key in spec.keys)]
    rows = select(*group, func.min(facts.c.position).label("first")).group_by(*group)
    return create_table_as(connection, f"touched_{next(_serial)}", rows, bounds)


def keep_late_keys(
    connection: Connection, spec: ProjectionSpec, touched: Table
) -> Table:
    """Keep only the keys whose new facts do not all follow those already folded."""
    state = state_table(spec)
    same = [state.c[name] == touched.c[name] for name in ("source", *spec.keys)]
    after = [
        or_(
            state.c[f"{fold.name}_at"].is_(None),
            touched.c.first > state.c[f"{fold.name}_at"],
        )
        for fold in spec.folds.values()
        if fold.replayed
    ]
    in_order = exists().where(and_(*same, *after))
    unseen = not_(exists().where(and_(*same)))
    connection.execute(delete(touched).where(or_(in_order, unseen)))
    connection.execute(text(f'ANALYZE "{touched.name}"'))
    return touched


def outside(spec: ProjectionSpec, keys: Table, restrict: Restrict) -> Restrict:
    """Narrow to the facts whose keys are not among `keys`."""

    def narrowed(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
        return [*restrict(view, table), not_(_among(spec, keys, view, table))]

    return narrowed


def among(
    spec: ProjectionSpec, keys: Table, restrict: Restrict | None = None
) -> Restrict:
    """Narrow to the facts whose keys are among `keys`."""

    def narrowed(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
        base = [] if restrict is None else list(restrict(view, table))
        return [*base, _among(spec, keys, view, table)]

    return narrowed


def _among(
    spec: ProjectionSpec, keys: Table, view: EventView, table: Table
) -> ColumnElement[bool]:
    columns = [c.element for c in key_columns(view, spec.keys)]  # type: ignore[attr-defined]
    names = ["source", *spec.keys]
    wanted = select(*(keys.c[name] for name in names))
    return tuple_(table.c.source, *columns).in_(wanted)


def recompute(connection: Connection, spec: ProjectionSpec, keys: Table) -> int:
    """Make the rows of these keys what their facts fold to; how many keys there were."""
    names = ["source", *spec.keys]
    count = connection.execute(select(func.count()).select_from(keys)).scalar_one()
    if not count:
        return 0
    state = state_table(spec)
    wanted = select(*(keys.c[name] for name in names))
    connection.execute(
        delete(state).where(tuple_(*(state.c[n] for n in names)).in_(wanted))
    )
    fill(connection, spec, among(spec, keys))
    for fold in member_folds(spec):
        members = member_table(spec, fold)
        connection.execute(
            delete(members).where(tuple_(*(members.c[n] for n in names)).in_(wanted))
        )
        fill_members(connection, spec, among(spec, keys))
    replay.rebuild(connection, spec, among(spec, keys))
    return int(count)


def fill(connection: Connection, spec: ProjectionSpec, restrict: Restrict) -> None:
    """Insert the rows that the facts fold to; none of them may exist."""
    state = state_table(spec)
    folded = fold_select(spec, restrict).subquery("folded")
    skipped = {fold.name for fold in replay.replays(spec)}
    taken = [c.name for c in state.columns if c.name not in skipped]
    order = [folded.c[name] for name in ("source", *spec.keys)]
    rows = select(*(folded.c[name] for name in taken)).order_by(*order)
    connection.execute(insert(state).from_select(taken, rows))


def fill_members(
    connection: Connection, spec: ProjectionSpec, restrict: Restrict
) -> None:
    """Insert the values that the CountDistinct folds have seen."""
    names = ["source", *spec.keys]
    for fold in member_folds(spec):
        arms = [arm for arm in branches(spec) if fold.name in arm.values]
        facts = facts_union(spec, arms, restrict)
        value = facts.c[f"v_{fold.name}"]
        rows = select(*(facts.c[name] for name in names), value).where(
            value.is_not(None)
        )
        members = member_table(spec, fold)
        statement = insert(members).from_select([*names, "value"], rows.distinct())
        connection.execute(statement.on_conflict_do_nothing())


__all__ = [
    "MetaData", "among", "fill", "fill_members", "keep_late_keys", "outside",
    "recompute", "touched_keys",
]  # fmt: skip
