"""Rows of a projection: live through the view of its table, or folded as of a block."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    SmallInteger,
    Table,
    bindparam,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy import Column as TableColumn

from db.coverage import Stream
from db.declare import EventView
from db.declare.projections import ProjectionSpec
from db.position import MAX_HEIGHT, BlockRange
from db.reads.cursor import decode_cursor, query_digest
from db.reads.errors import BadQuery
from db.reads.forms import Column
from db.reads.freshness import freshness_binds, freshness_cte
from db.reads.pages import (
    Page,
    PageResult,
    Row,
    Sort,
    beyond,
    count_of,
    finish,
    require_block,
    run,
    sorted_rows,
    statement,
)
from db.reads.statements import Statement
from db.reads.values import (
    ANY,
    OWN,
    condition,
    row_columns,
    row_filters,
    sortable,
    split_filter,
)
from db.sql import replay
from db.sql.as_of import as_of_select
from db.sql.columns import STATE, fact_table
from db.sql.ddl import projection_columns
from db.sql.fold import Restrict, fold_select, key_columns, view_condition
from db.sql.folds import sql_folds
from db.sql.types import field_type

_SHAPES = 1000  # statements kept: a query string may combine filters as it likes


def select_rows(
    connection: Connection,
    spec: ProjectionSpec,
    source: int,
    *,
    where: Mapping[str, Any] | None = None,
    order: str | None = None,
    descending: bool = False,
    after: str | None = None,
    limit: int = 20,
    counted: bool = False,
    as_of: int | None = None,
    plan: Sequence[Stream] | None = None,
    in_units: bool = True,
) -> Page:
    """A page of rows, by key or by an indexed column.

    `in_units`: values have the forms of their meanings, else those they are stored in.

    `where` has values by the names of `row_filters`, lists of them where ANY follows.
    As of a block only keys can be filtered and sorted by: anything else would fold
    every fact of the chain first.
    Raises a ReadError.
    """
    where = where or {}
    _check(spec, where, order, as_of)
    sort_columns = _sort_columns(spec, order, in_units)
    digest = query_digest(
        spec.plural, source, sorted(where.items()), order, descending, as_of, in_units
    )
    cursor = None if after is None else decode_cursor(after, digest, sort_columns)
    sort = Sort(
        sort_columns,
        descending,
        after=cursor is not None,
        after_null=cursor is not None and cursor[0] is None,
    )
    binds = _binds(spec, source, where, as_of, plan) | {"limit": limit + 1}
    for number, value in enumerate(cursor or ()):
        binds[f"after_{number}"] = value
    names, past = tuple(sorted(where)), as_of is not None
    prepare = partial(
        _statement, spec, names, past=past, counted=counted, in_units=in_units
    )
    valued = sort_columns[0].nullable and not (names or past or counted)
    found = _run_rows(connection, prepare, sort, binds, valued=valued)
    if as_of is not None:
        found = replace(found, bodies=_reduced(spec, found.bodies))
    return finish(
        found, sort=sort, limit=limit, digest=digest, as_of=as_of, counted=counted
    )


def _run_rows(
    connection: Connection,
    prepare: Callable[[Sort], Statement],
    sort: Sort,
    binds: Mapping[str, Any],
    *,
    valued: bool,
) -> PageResult:
    """Run a page's statement; with `valued` try first without rows that have no value.

    Most pages end before those, and cost half as much alone.
    """
    if valued and not sort.after_null:
        found = run(connection, prepare(replace(sort, valued=True)), binds)
        if len(found.bodies) == binds["limit"]:
            return found
    return run(connection, prepare(sort), binds)


def select_row(
    connection: Connection,
    spec: ProjectionSpec,
    source: int,
    keys: Mapping[str, Any],
    *,
    as_of: int | None = None,
    plan: Sequence[Stream] | None = None,
    in_units: bool = True,
) -> Row:
    """The row with these keys. Raises a ReadError."""
    if set(keys) != set(spec.keys):
        raise BadQuery(f"{spec.name} is named by {', '.join(spec.keys)}, all of them.")
    _check(spec, {}, None, as_of)
    sort = Sort(_sort_columns(spec, None, in_units), False, after=False)
    prepared = _statement(
        spec, tuple(sorted(keys)), sort, as_of is not None, False, in_units
    )
    binds = _binds(spec, source, keys, as_of, plan) | {"limit": 1}
    found = run(connection, prepared, binds)
    block = require_block(found.freshness, as_of)
    bodies = found.bodies if as_of is None else _reduced(spec, found.bodies)
    return Row(bodies[0].encode() if bodies else None, block, found.freshness.built_at)


def _check(
    spec: ProjectionSpec,
    where: Mapping[str, Any],
    order: str | None,
    as_of: int | None,
) -> None:
    filters = row_filters(spec)
    for name in where:
        known = name.removesuffix(ANY) in filters
        if not known and name != f"{spec.owned_by}{OWN}":
            raise BadQuery(
                f"{spec.plural} cannot be filtered by {name!r}: "
                f"use {', '.join(filters)}, or add it to `index`."
            )
    if order is not None and order not in sortable(spec):
        raise BadQuery(
            f"{spec.plural} cannot be sorted by {order!r}: "
            f"use {', '.join(sortable(spec))}, or add it to `index`."
        )
    if as_of is None:
        return
    check_height(as_of)
    folded = [n for n in where if split_filter(n)[0] not in spec.keys]
    if folded or (order is not None and order != next(iter(spec.keys))):
        raise BadQuery(
            f"As of a block, {spec.plural} can be filtered by "
            f"{', '.join(spec.keys)} and sorted by {next(iter(spec.keys))} only: "
            f"leave out {', '.join([*folded, *([order] if order else [])])}, "
            "or leave out as_of."
        )


def check_height(as_of: int) -> None:
    """Refuse what cannot be the height of a block."""
    if not 0 <= as_of <= MAX_HEIGHT:
        raise BadQuery(f"as_of: {as_of} is not the height of a block.")


def _sort_columns(
    spec: ProjectionSpec, order: str | None, in_units: bool
) -> tuple[Column, ...]:
    columns = row_columns(spec, in_units=in_units)
    names = [] if order is None else [order]
    names += [key for key in spec.keys if key != order]
    return tuple(columns[name] for name in names)


def _binds(
    spec: ProjectionSpec,
    source: int,
    where: Mapping[str, Any],
    as_of: int | None,
    plan: Sequence[Stream] | None,
) -> dict[str, Any]:
    binds = freshness_binds(
        source, _event_ids(spec), plan, as_of=as_of, relation=spec.plural
    )
    binds |= {f"where_{name}": value for name, value in where.items()}
    if as_of is not None:
        binds["highest"] = BlockRange(as_of, as_of).highest
    return binds


@cache
def _event_ids(spec: ProjectionSpec) -> tuple[str, ...]:
    return tuple(event.spec.id for event in spec.events)


@lru_cache(_SHAPES)
def _statement(
    spec: ProjectionSpec,
    where: tuple[str, ...],
    sort: Sort,
    past: bool,
    counted: bool,
    in_units: bool,
) -> Statement:
    freshness, live = freshness_cte(), _live(spec)
    conditions = [live.c.source == bindparam("source"), *_conditions(live, where)]
    if past:
        conditions.append(_had_facts(spec, live))
        rows = _rows_as_of(spec, where, sort, in_units)
    else:
        rows = sorted_rows(live, _visible(spec, live, in_units), conditions, sort)
    extras = {"total": count_of(live, conditions)} if counted else {}
    return statement(freshness, rows, sort, extras)


def _rows_as_of(
    spec: ProjectionSpec, where: Sequence[str], sort: Sort, in_units: bool
) -> Select[Any]:
    """The rows of a page, folded from the facts up to the block.

    The keys of the page are chosen before anything is folded.
    """
    if set(spec.keys) == set(where):
        keys = {
            name: bindparam(f"where_{name}", type_=field_type(field))
            for name, field in spec.keys.items()
        }
        rows = as_of_select(spec, keys)
    else:
        rows = fold_select(spec, _among(spec, _chosen(spec, where, sort)))
    folded = rows.subquery("folded")
    begun = replace(sort, after=False)
    return sorted_rows(folded, _visible(spec, folded, in_units), [], begun)


def _chosen(spec: ProjectionSpec, where: Sequence[str], sort: Sort) -> CTE:
    """The keys of a page as of a block, in order.

    They are among those of the live table, which has every key that has ever had a
    fact; an index says for each whether it had one by then.
    """
    live = _live(spec)
    terms = [live.c[name] for name in sort.names]
    conditions = [live.c.source == bindparam("source"), *_conditions(live, where)]
    if sort.after:
        conditions.append(beyond(terms, sort, 0))
    conditions.append(_had_facts(spec, live))
    order = [term.desc() if sort.descending else term.asc() for term in terms]
    return (
        select(*(live.c[key] for key in spec.keys))
        .where(*conditions)
        .order_by(*order)
        .limit(bindparam("limit"))
        .cte("chosen")
    )


def _had_facts(spec: ProjectionSpec, live: Table) -> ColumnElement[bool]:
    return or_(*(_had_a_fact(spec, live, view) for view in spec.views))


def _had_a_fact(
    spec: ProjectionSpec, live: Table, view: EventView
) -> ColumnElement[bool]:
    table = fact_table(view.event)
    same = [
        column.element == live.c[column.name] for column in key_columns(view, spec.keys)
    ]
    # Not EXISTS, which Postgres may turn into reading the whole table once.
    fact = select(table.c.position).where(
        *_by_then(table), *same, *view_condition(view)
    )
    return fact.limit(literal_column("1")).scalar_subquery().is_not(None)


def _by_then(table: Table) -> list[ColumnElement[bool]]:
    return [
        table.c.source == bindparam("source"),
        table.c.position <= bindparam("highest"),
    ]


def _among(spec: ProjectionSpec, chosen: CTE) -> Restrict:
    """Return the facts of the given keys at or below the as-of position."""

    def restrict(view: EventView, table: Table) -> list[ColumnElement[bool]]:
        columns = [column.element for column in key_columns(view, spec.keys)]
        wanted = select(*(chosen.c[key] for key in spec.keys))
        return [*_by_then(table), tuple_(*columns).in_(wanted)]

    return restrict


def _live(spec: ProjectionSpec) -> Table:
    """The view of the live table, by the name that a rebuild does not change."""
    columns = [TableColumn(key, field_type(field)) for key, field in spec.keys.items()]
    for fold in sql_folds(spec):
        columns += fold.columns()
    return Table(
        spec.plural,
        MetaData(schema=STATE),
        TableColumn("source", SmallInteger),
        *columns,
    )


def _visible(
    spec: ProjectionSpec, origin: Any, in_units: bool
) -> list[tuple[Column, ColumnElement[Any]]]:
    columns = row_columns(spec, in_units=in_units)
    found = [
        (columns[name], value) for name, _, value in projection_columns(spec, origin)
    ]
    beside = [name for fold in sql_folds(spec) for name in fold.beside()]
    return found + [(columns[name], origin.c[name]) for name in beside]


def _conditions(origin: Any, where: Sequence[str]) -> list[ColumnElement[bool]]:
    return [condition(name, origin.c[split_filter(name)[0]]) for name in where]


def _reduced(spec: ProjectionSpec, bodies: Sequence[str]) -> Sequence[str]:
    """Rows as of a block, each Replay's list of facts replaced by its state."""
    folds = replay.replays(spec)
    if not folds:
        return bodies
    found = []
    for body in bodies:
        row = json.loads(body)  # not orjson: it makes floats of large integers
        for fold in folds:
            row[fold.name] = replay.reduce_facts(fold, None, row[fold.name])
        found.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    return found
