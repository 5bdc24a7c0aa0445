"""Facts of an event, by position."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    any_,
    bindparam,
    exists,
    func,
    select,
)

from db.coverage import Stream
from db.declare import Event
from db.position import MAX_ORDINAL, ORDINAL_BITS, position
from db.reads.cursor import decode_cursor, query_digest
from db.reads.errors import BadQuery
from db.reads.freshness import freshness_binds, freshness_cte
from db.reads.pages import (
    Page,
    Sort,
    finish,
    run,
    sorted_rows,
    statement,
)
from db.reads.rows import check_height
from db.reads.statements import Statement
from db.reads.values import OWN, Column, fact_columns
from db.sql.columns import fact_table

_SHAPES = 1000
_HEIGHTS = ("height__gte", "height__lte")


def spoke(
    connection: Connection,
    source: int,
    events: Iterable[type[Event]],
    address: bytes,
    *,
    alone: bool,
) -> bool:
    """Whether an address emitted any fact of a contract's events.

    `alone`: it is the contract's only one, so that facts which do not tell are its own.
    """
    for event in events:
        facts = fact_table(event).c
        emitters = [n for n, field in event.spec.fields.items() if field.emitter]
        if not emitters and not alone:
            continue
        conditions = [facts[name] == address for name in emitters]
        found = exists().where(facts.source == source, *conditions)
        if connection.execute(select(found)).scalar():
            return True
    return False


def select_facts(
    connection: Connection,
    event: type[Event],
    source: int,
    *,
    where: Mapping[str, Any] | None = None,
    descending: bool = False,
    after: str | None = None,
    limit: int = 20,
    as_of: int | None = None,
    plan: Sequence[Stream] | None = None,
) -> Page:
    """A page of facts at or below the checkpoint, or the block `as_of`.

    Facts above the checkpoint are left out though they are stored: facts below them
    are still to come, and a reader who goes on by position would never see those.
    `where` has values by field, `height__gte` and `height__lte`. Raises a ReadError.
    """
    where = where or {}
    columns = fact_columns(event)
    for name in where:
        own = name == f"{event.spec.owned_by}{OWN}"
        if not own and name not in event.spec.fields and name not in _HEIGHTS:
            raise BadQuery(
                f"{event.spec.table} cannot be filtered by {name!r}: "
                f"use {', '.join([*event.spec.fields, *_HEIGHTS])}."
            )
    if as_of is not None:
        check_height(as_of)
    digest = query_digest(
        event.spec.id, source, sorted(where.items()), descending, as_of
    )
    sort_columns = (columns["position"],)
    cursor = None if after is None else decode_cursor(after, digest, sort_columns)
    sort = Sort(sort_columns, descending, after=cursor is not None)
    prepared = _statement(event, tuple(sorted(where)), sort)
    binds = freshness_binds(source, [event.spec.id], plan, as_of=as_of)
    binds |= {f"where_{name}": _bound(name, value) for name, value in where.items()}
    binds["limit"] = limit + 1
    if cursor is not None:
        binds["after_0"] = cursor[0]
    freshness, bodies = run(connection, prepared, binds)
    return finish(freshness, bodies, sort=sort, limit=limit, digest=digest, as_of=as_of)


def _bound(name: str, value: Any) -> Any:
    """A height as the first or the last position in it; beyond all, as the last."""
    if name not in _HEIGHTS:
        return value
    height = max(min(value, (1 << 31) - 1), -1)
    if height < 0:
        return -1
    return position(height, 0 if name == "height__gte" else MAX_ORDINAL)


@lru_cache(_SHAPES)
def _statement(event: type[Event], where: tuple[str, ...], sort: Sort) -> Statement:
    freshness = freshness_cte()
    table = fact_table(event)
    reached: Any = func.coalesce(bindparam("as_of"), freshness.c.checkpoint)
    highest = select(reached.op("<<")(ORDINAL_BITS).op("|")(MAX_ORDINAL))
    conditions: list[ColumnElement[bool]] = [
        table.c.source == bindparam("source"),
        table.c.position <= highest.scalar_subquery(),
    ]
    for name in where:
        if name in _HEIGHTS:
            bound: Any = bindparam(f"where_{name}", type_=table.c.position.type)
            here = table.c.position
            conditions.append(here >= bound if name.endswith("gte") else here <= bound)
        elif name.endswith(OWN):
            column = table.c[name.removesuffix(OWN)]
            several = bindparam(f"where_{name}", type_=ARRAY(column.type))
            conditions.append(column == any_(several))
        else:
            column = table.c[name]
            conditions.append(column == bindparam(f"where_{name}", type_=column.type))
    rows = sorted_rows(table, _visible(event), conditions, sort)
    return statement(freshness, rows, sort)


def _visible(event: type[Event]) -> list[tuple[Column, ColumnElement[Any]]]:
    table = fact_table(event)
    found: list[tuple[Column, ColumnElement[Any]]] = []
    for name, column in fact_columns(event).items():
        if name == "height":
            found.append((column, table.c.position.op(">>")(ORDINAL_BITS)))
        else:
            found.append((column, table.c[name]))
    return found
