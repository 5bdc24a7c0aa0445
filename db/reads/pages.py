"""Pages: what a read gives, and the statement behind it.

    WITH freshness AS (<how far the events are read>)
    SELECT freshness.*, page.body
    FROM freshness LEFT OUTER JOIN (
        SELECT row_to_json(visible)::text AS body, <what it is sorted by>
        FROM state.p, LATERAL (SELECT <columns in their JSON form>) AS visible
        WHERE source = … AND <filters> AND (<sort>, <keys>) > (<cursor>)
        ORDER BY <sort>, <keys> LIMIT …
    ) AS page ON true
    ORDER BY <the same>

One row for each of the page, or one with the freshness alone. Beside the body stand a
count of the rows, and where a page stopped looking, if they are asked for. Statements
are compiled once for each shape of a query and kept as text: the driver fills in the
values.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    FromClause,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)

from db.reads.cursor import encode_cursor
from db.reads.errors import NothingIndexed, NotYetIndexed
from db.reads.forms import Column, as_json
from db.reads.freshness import BlockInfo, Freshness, freshness_of, known
from db.reads.statements import Statement, compiled

_FRESHNESS_COLUMNS = 8
COUNT_MOST = 10_000  # rows counted; of more it is told that there are more


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as a JSON array, the block they are true for, and where the next begin.

    `extra` are members of the answer: `count`, where it was asked for, and `scan`,
    where a filter has no index.
    """

    data: bytes
    block: BlockInfo
    next: str | None
    built_at: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as a JSON object, None when there is none at this block."""

    data: bytes | None
    block: BlockInfo
    built_at: str


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of a page: a column, perhaps, and the keys."""

    columns: tuple[Column, ...]
    descending: bool
    after: bool  # whether the page begins after a row
    after_null: bool = False  # whether that row has no value to sort by
    valued: bool = False  # only the rows that have a value to sort by

    @property
    def names(self) -> list[str]:
        """The names of the columns sorted by."""
        return [column.name for column in self.columns]


def visible_rows(
    origin: FromClause,
    columns: Sequence[tuple[Column, ColumnElement[Any]]],
    conditions: Sequence[ColumnElement[bool]],
    sort: Sequence[ColumnElement[Any]],
    *,
    descending: bool,
) -> Select[Any]:
    """The rows of a page: body, and what they are sorted by; binds `limit`."""
    shown = select(*(as_json(c, value).label(c.name) for c, value in columns))
    visible = shown.correlate(origin).lateral("visible")
    body = cast(func.row_to_json(visible.table_valued()), Text).label("body")
    return (
        select(body, *(each.label(f"s{n}") for n, each in enumerate(sort)))
        .select_from(origin.join(visible, true()))
        .where(*conditions)
        .order_by(*(each.desc() if descending else each.asc() for each in sort))
        .limit(bindparam("limit"))
    )


def sorted_rows(
    origin: FromClause,
    columns: Sequence[tuple[Column, ColumnElement[Any]]],
    conditions: Sequence[ColumnElement[bool]],
    sort: Sort,
) -> Select[Any]:
    """The rows of a page in order, those without a value in the sorted column last.

    These are read apart: a comparison with NULL is never true, and an OR would keep
    Postgres from beginning where the cursor stands in the index.
    """
    values = {column.name: value for column, value in columns}
    terms = [values[name] for name in sort.names]
    first, keys = sort.columns[0], terms[1:]
    begin = [beyond(terms, sort, 0)] if sort.after else []
    if first.nullable and not sort.after:
        begin = [terms[0].is_not(None)]
    rows = [_part(origin, columns, [*conditions, *begin], terms, sort)]
    if first.nullable and not sort.valued:
        begin = [beyond(keys, sort, 1)] if sort.after_null else []
        begin.append(terms[0].is_(None))
        last = _part(origin, columns, [*conditions, *begin], terms, sort)
        rows = [last] if sort.after_null else [*rows, last]
    page = (union_all(*rows) if len(rows) > 1 else rows[0]).subquery("page")
    order = _outer_order(page, len(terms), descending=sort.descending)
    return select(page).order_by(*order).limit(bindparam("limit"))


def _part(
    origin: FromClause,
    columns: Sequence[tuple[Column, ColumnElement[Any]]],
    conditions: Sequence[ColumnElement[bool]],
    terms: Sequence[ColumnElement[Any]],
    sort: Sort,
) -> Select[Any]:
    return visible_rows(origin, columns, conditions, terms, descending=sort.descending)


def beyond(
    terms: Sequence[ColumnElement[Any]], sort: Sort, first: int
) -> ColumnElement[bool]:
    """After the cursor, whose values are bound as after_0, after_1 and so on."""
    binds = [
        bindparam(f"after_{number}", type_=term.type)
        for number, term in enumerate(terms, first)
    ]
    here, there = tuple_(*terms), tuple_(*binds)
    return here < there if sort.descending else here > there


def _outer_order(
    page: FromClause, terms: int, *, descending: bool
) -> list[ColumnElement[Any]]:
    columns = [page.c[f"s{number}"] for number in range(terms)]
    if descending:
        return [column.desc().nulls_last() for column in columns]
    return [column.asc().nulls_last() for column in columns]


def count_of(
    origin: FromClause, conditions: Sequence[ColumnElement[bool]]
) -> ScalarSelect[Any]:
    """Count the rows, up to one above COUNT_MOST."""
    one: ColumnElement[int] = literal_column("1")
    found = (
        select(one)
        .select_from(origin)
        .where(*conditions)
        .limit(bindparam("count_rest"))
    )
    return select(func.count()).select_from(found.subquery()).scalar_subquery()


def statement(
    freshness: CTE,
    rows: Select[Any],
    sort: Sort,
    extras: Mapping[str, ScalarSelect[Any]] | None = None,
) -> Statement:
    """A page's statement, compiled; `extras` are values beside the rows."""
    page = rows.subquery("answer")
    order = _outer_order(page, len(sort.columns), descending=sort.descending)
    beside = [value.label(name) for name, value in (extras or {}).items()]
    query = (
        select(*freshness.columns, page.c.body, *beside)
        .select_from(freshness.join(page, true(), isouter=True))
        .order_by(*order)
    )
    return compiled(query)


@dataclass(frozen=True, slots=True)
class PageResult:
    """The answer of a page's statement, perhaps with one row more than it may have."""

    freshness: Freshness
    bodies: Sequence[str]
    extras: Sequence[Any]  # in the order in which the statement has them


def run(
    connection: Connection, prepared: Statement, values: Mapping[str, Any]
) -> PageResult:
    """Run a page's statement."""
    given = {**values, "count_rest": COUNT_MOST + 1}
    result = known(prepared.run(connection, given), values["source"])
    freshness = freshness_of(result[0][:_FRESHNESS_COLUMNS], values["as_of"])
    bodies = [row[_FRESHNESS_COLUMNS] for row in result if row[_FRESHNESS_COLUMNS]]
    return PageResult(freshness, bodies, result[0][_FRESHNESS_COLUMNS + 1 :])


def require_block(freshness: Freshness, as_of: int | None) -> BlockInfo:
    """The block an answer is true for; raises when there is none."""
    if freshness.block is not None:
        return freshness.block
    if as_of is not None:
        raise NotYetIndexed(freshness.chain, as_of, freshness.checkpoint)
    raise NothingIndexed(freshness.chain)


def finish(
    found: PageResult,
    *,
    sort: Sort,
    limit: int,
    digest: str,
    as_of: int | None,
    counted: bool = False,
    scan_most: int | None = None,
) -> Page:
    """The page, from one row more than it may have.

    With `scan_most` it may have fewer than `limit` rows and a next page.
    """
    block = require_block(found.freshness, as_of)
    shown, following = found.bodies[:limit], None
    if len(found.bodies) > limit:
        last = json.loads(shown[-1])
        following = encode_cursor(digest, [last[name] for name in sort.names])
    extra: dict[str, Any] = {}
    extras = list(found.extras)
    if counted:
        rows = extras.pop(0)
        extra["count"] = {"rows": min(rows, COUNT_MOST), "exact": rows <= COUNT_MOST}
    if scan_most is not None:
        edge = extras.pop(0)
        stopped = following is None and edge is not None
        if stopped:
            following = encode_cursor(digest, [str(edge)])
        extra["scan"] = {"facts_max": scan_most, "stopped": stopped}
    data = f"[{','.join(shown)}]".encode()
    return Page(data, block, following, found.freshness.built_at, extra)
