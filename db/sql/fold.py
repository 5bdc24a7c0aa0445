"""The one SELECT that merge, repair, as-of and verify reuse.

    SELECT source, <keys>, <fold columns>
    FROM (SELECT source, <keys>, position, <value of each fold, or NULL> FROM facts.a
          UNION ALL
          SELECT … FROM facts.b) AS facts
    GROUP BY source, <keys>

One branch for each view of an event; a fold's value stands in the branches that
contribute to it and is NULL in the others.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    literal_column,
    null,
    select,
    union_all,
)

from db.declare import Expression
from db.declare.events import EventView, FieldRef
from db.declare.projections import ProjectionSpec
from db.sql.columns import fact_table, key_column
from db.sql.expressions import to_sql
from db.sql.folds import sql_folds
from db.sql.folds.base import SqlFold
from db.sql.types import sql_type

Restrict = Callable[[EventView, Table], Sequence[ColumnElement[bool]]]


@dataclass(frozen=True, slots=True)
class Branch:
    """One arm of the union: a view of an event and what it brings to each fold."""

    view: EventView
    values: dict[str, Expression] = field(default_factory=dict)


def branches(
    spec: ProjectionSpec, events: Collection[str] | None = None
) -> list[Branch]:
    """The arms of a projection's union, for all its events or those with these ids."""
    found: list[Branch] = []
    for fold in spec.folds.values():
        for contribution in fold.contributions:
            view = contribution.view
            if events is not None and view.event.spec.id not in events:
                continue
            for branch in found:
                same = branch.view.identity() == view.identity()
                if same and fold.name not in branch.values:
                    break
            else:
                branch = Branch(view)
                found.append(branch)
            branch.values[fold.name] = contribution.value
    return found


def within_range(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
    """Facts of one source between two positions; binds source, lowest, highest."""
    return [
        table.c.source == bindparam("source", type_=table.c.source.type),
        table.c.position.between(
            bindparam("lowest", type_=BigInteger),
            bindparam("highest", type_=BigInteger),
        ),
    ]


def just_written(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
    """Narrow to facts in the range that this transaction inserted (compares xmin)."""
    own = literal_column("xmin") == literal_column("pg_current_xact_id()::xid")
    return [*within_range(view, table), own]


def everything(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
    """All facts of all sources."""
    return []


def key_columns(view: EventView, keys: Collection[str]) -> list[ColumnElement[Any]]:
    """The columns of a view's fact table that fill a projection's keys, so labelled."""
    table = fact_table(view.event)
    found: list[ColumnElement[Any]] = []
    for key in keys:
        field = view.field_for_key(key)
        assert field is not None  # the declaration was checked at import
        found.append(key_column(table, field).label(key))
    return found


def view_condition(view: EventView) -> list[ColumnElement[bool]]:
    """The view's own condition in SQL."""
    if view.condition is None:
        return []
    return [to_sql(view.condition, field_column)]


def facts_union(
    spec: ProjectionSpec, arms: Sequence[Branch], restrict: Restrict
) -> FromClause:
    """The union of the arms, as a subquery named `facts`."""
    selects = []
    for branch in arms:
        table = fact_table(branch.view.event)
        values = [
            _branch_value(fold, branch).label(f"v_{fold.name}")
            for fold in sql_folds(spec)
        ]
        selects.append(
            select(
                table.c.source,
                *key_columns(branch.view, spec.keys),
                table.c.position,
                *values,
            ).where(*view_condition(branch.view), *restrict(branch.view, table))
        )
    if len(selects) == 1:
        return selects[0].subquery("facts")
    return union_all(*selects).subquery("facts")


def fold_select(
    spec: ProjectionSpec,
    restrict: Restrict,
    *,
    events: Collection[str] | None = None,
    stored: Table | None = None,
) -> Select[Any]:
    """The rows that a set of facts folds to.

    Columns: source, keys, then those of `fold_columns` for each fold. A Replay's column
    is the list of its facts in order, for `db.sql.replay` to reduce. With `stored`, a
    Stage goes on from the row stored for the key instead of from its first state.
    """
    arms = branches(spec, events)
    facts = facts_union(spec, arms, restrict)
    columns: list[ColumnElement[Any]] = []
    folds = sql_folds(spec)
    for fold in folds:
        everywhere = all(fold.name in branch.values for branch in arms)
        columns.extend(fold.lift(facts, everywhere))
    group = [facts.c.source, *(facts.c[key] for key in spec.keys)]
    grouped = select(*group, *columns).group_by(*group)
    going_on = any(fold.goes_on for fold in folds)
    return _go_on(spec, grouped, stored) if going_on else grouped


def field_column(leaf: Expression) -> ColumnElement[Any]:
    """Return the column of facts that has an event's field."""
    assert isinstance(leaf, FieldRef)
    table = fact_table(leaf.view.event)
    if leaf.field.name == "height":
        return table.c.position.op(">>")(32)
    return table.c[leaf.field.name]


def _branch_value(fold: SqlFold[Any], branch: Branch) -> ColumnElement[Any]:
    """Return the value that one arm gives to one fold, NULL when it gives none."""
    if fold.name not in branch.values:
        return cast(null(), sql_type(fold.kind))
    return fold.value(branch.view, branch.values[fold.name], field_column)


def _go_on(
    spec: ProjectionSpec, grouped: Select[Any], stored: Table | None
) -> Select[Any]:
    """Continue folds from the stored row of each key, or from nothing."""
    rows = grouped.subquery("grouped")
    origin: FromClause = rows
    if stored is not None:
        keys = ["source", *spec.keys]
        same = [rows.c[key] == stored.c[key] for key in keys]
        origin = rows.outerjoin(stored, and_(*same))
    columns: list[Any] = [rows.c.source, *(rows.c[key] for key in spec.keys)]
    for fold in sql_folds(spec):
        columns += fold.resume(rows, stored)
    return select(*columns).select_from(origin)
