"""Sets of keys that statements work on: those touched by facts, those that came late.

A set stands in a temporary table (source, keys, _first: the lowest position of the
facts that touched the key), dropped at commit; its name is fixed, so that statements
over it are compiled once.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Delete,
    Insert,
    MetaData,
    Select,
    SmallInteger,
    Table,
    and_,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    tuple_,
)

from db.declare.events import EventView
from db.declare.projections import ProjectionSpec
from db.sql.columns import state_table
from db.sql.fold import Restrict, branches, facts_union, key_columns, within_range
from db.sql.statements import cached_by_events, create_temporary, fill_statement
from db.sql.types import field_type

FIRST = "_first"  # no column of a declaration begins with an underscore


@cache
def key_table(spec: ProjectionSpec, prefix: str) -> Table:
    """A temporary table of keys, dropped at commit."""
    return Table(
        f"{prefix}_{spec.plural}",
        MetaData(),
        Column("source", SmallInteger),
        *(Column(key, field_type(field)) for key, field in spec.keys.items()),
        Column(FIRST, BigInteger),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )


def touched_keys(
    connection: Connection,
    spec: ProjectionSpec,
    bounds: Mapping[str, int],
    events: Collection[str] | None = None,
    restrict: Restrict | None = None,
) -> Table:
    """The keys of the facts in a range, or of those that `restrict` selects."""
    table = key_table(spec, "touched")
    if restrict is None:
        chosen = None if events is None else frozenset(events)
        fill = _fill_touched(spec, "touched", chosen)
    else:
        fill = fill_statement(table, _keys_select(spec, events, restrict))
    create_temporary(connection, table, fill, bounds)
    return table


def late_keys(
    connection: Connection,
    spec: ProjectionSpec,
    bounds: Mapping[str, int],
    events: Collection[str],
) -> Table:
    """The keys whose facts in a range do not all follow those already folded."""
    table = key_table(spec, "late")
    fill = _fill_touched(spec, "late", frozenset(events))
    create_temporary(connection, table, fill, bounds)
    connection.execute(_keep_late(spec))
    return table


@cached_by_events
def _fill_touched(
    spec: ProjectionSpec, prefix: str, events: frozenset[str] | None
) -> Insert:
    rows = _keys_select(spec, events, within_range)
    return fill_statement(key_table(spec, prefix), rows)


def _keys_select(
    spec: ProjectionSpec, events: Collection[str] | None, restrict: Restrict
) -> Select[Any]:
    facts = facts_union(spec, branches(spec, events), restrict)
    group = [facts.c.source, *(facts.c[key] for key in spec.keys)]
    return select(*group, func.min(facts.c.position)).group_by(*group)


@cache
def _keep_late(spec: ProjectionSpec) -> Delete:
    touched, state = key_table(spec, "late"), state_table(spec)
    same = [state.c[name] == touched.c[name] for name in ("source", *spec.keys)]
    stamps = [state.c[f"{f.name}_at"] for f in spec.folds.values() if f.replayed]
    after = [or_(at.is_(None), touched.c[FIRST] > at) for at in stamps]
    in_order = exists().where(and_(*same, *after))
    unseen = not_(exists().where(and_(*same)))
    return delete(touched).where(or_(in_order, unseen))


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
    columns = [c.element for c in key_columns(view, spec.keys)]
    names = ["source", *spec.keys]
    wanted = select(*(keys.c[name] for name in names))
    return tuple_(table.c.source, *columns).in_(wanted)
