"""Facts of an event, by position."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    text,
)

from db.coverage import Stream
from db.declare import Event
from db.position import MAX_ORDINAL, ORDINAL_BITS, position
from db.reads.cursor import decode_cursor, query_digest
from db.reads.errors import BadQuery
from db.reads.forms import TIMES, Column
from db.reads.freshness import freshness_binds, freshness_cte
from db.reads.pages import (
    Page,
    Sort,
    beyond,
    count_of,
    finish,
    run,
    sorted_rows,
    statement,
)
from db.reads.rows import check_height
from db.reads.statements import Statement
from db.reads.values import (
    ANY,
    HEIGHTS,
    condition,
    fact_columns,
    split_filter,
)
from db.sql.columns import fact_table

_SHAPES = 1000
SCAN_MOST = 20_000  # facts looked at for a page, where a filter has no index
SINCE = TIMES["since"]
TIME_SLACK_SECONDS = 3600  # by which the clock of a chain may go back


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
    indexed: Collection[str] | None = None,
    descending: bool = False,
    after: str | None = None,
    limit: int = 20,
    counted: bool = False,
    as_of: int | None = None,
    plan: Sequence[Stream] | None = None,
    in_units: bool = True,
) -> Page:
    """A page of facts at or below the checkpoint, or the block `as_of`.

    Facts above the checkpoint are left out though they are stored: facts below them
    are still to come, and a reader who goes on by position would never see those.
    `where` has values by the names of `fact_filters`, lists of them where ANY follows.
    Where one of these is not among the `indexed` fields, `SCAN_MOST` facts are looked
    at for a page, which may then be short and have a next one all the same; None: all
    of them are. Raises a ReadError.
    """
    where = where or {}
    scanned = _scanned(event, where, indexed)
    if counted and scanned:
        raise BadQuery(
            f"Facts are not counted by {', '.join(scanned)}, of which there is no "
            f"index: leave out count, or {', '.join(scanned)}."
        )
    if as_of is not None:
        check_height(as_of)
    digest = query_digest(
        event.spec.id, source, sorted(where.items()), descending, as_of, in_units
    )
    sort_columns = (fact_columns(event, in_units=in_units)["position"],)
    cursor = None if after is None else decode_cursor(after, digest, sort_columns)
    sort = Sort(sort_columns, descending, after=cursor is not None)
    prepared = _statement(event, tuple(sorted(where)), scanned, sort, counted, in_units)
    binds = freshness_binds(source, [event.spec.id], plan, as_of=as_of)
    binds |= _bound(where)
    binds |= {"limit": limit + 1, "scan_rest": SCAN_MOST - 1}
    if cursor is not None:
        binds["after_0"] = cursor[0]
    return finish(
        run(connection, prepared, binds),
        sort=sort, limit=limit, digest=digest, as_of=as_of, counted=counted,
        scan_most=SCAN_MOST if scanned else None,
    )  # fmt: skip


def _scanned(
    event: type[Event], where: Mapping[str, Any], indexed: Collection[str] | None
) -> tuple[str, ...]:
    """The filters that no index answers; raises BadQuery for one that is not known."""
    fields = {**event.spec.fields, "transaction": None}
    found = []
    for name in where:
        field, comparison = split_filter(name)
        if name in (*HEIGHTS, *TIMES.values()):
            continue
        own = comparison == "own"
        if field not in fields or (own and field != event.spec.owned_by):
            raise BadQuery(
                f"{event.spec.table} cannot be filtered by {name!r}: "
                f"use {', '.join([*fields, *HEIGHTS, *TIMES.values()])}."
            )
        answered = indexed is None or (field in indexed and comparison in ("", "any"))
        if not own and not answered:
            found.append(name.removesuffix(ANY))
    return tuple(sorted(found))


def _bound(where: Mapping[str, Any]) -> dict[str, Any]:
    """The values of filters; a height is the first or the last position in it."""
    found: dict[str, Any] = {}
    for name, value in where.items():
        found[f"where_{name}"] = value
        if name in HEIGHTS:  # one beyond all is taken as the last
            height = max(min(value, (1 << 31) - 1), -1)
            ordinal = 0 if name == "height__gte" else MAX_ORDINAL
            found[f"where_{name}"] = -1 if height < 0 else position(height, ordinal)
        elif name in TIMES.values():
            slack = TIME_SLACK_SECONDS
            found[f"near_{name}"] = value - slack if name == SINCE else value + slack
    return found


@lru_cache(_SHAPES)
def _statement(
    event: type[Event],
    where: tuple[str, ...],
    scanned: tuple[str, ...],
    sort: Sort,
    counted: bool,
    in_units: bool,
) -> Statement:
    freshness = freshness_cte()
    table = fact_table(event)
    reached: Any = func.coalesce(bindparam("as_of"), freshness.c.checkpoint)
    highest = select(reached.op("<<")(ORDINAL_BITS).op("|")(MAX_ORDINAL))
    found: list[ColumnElement[bool]] = [
        table.c.source == bindparam("source"),
        table.c.position <= highest.scalar_subquery(),
    ]
    rest: list[ColumnElement[bool]] = []  # what no index answers
    for name in where:
        if name in TIMES.values():
            found.append(_near(event, name))
            time = bindparam(f"where_{name}", type_=table.c.block_time.type)
            here = table.c.block_time
            rest.append(here >= time if name == SINCE else here < time)
        elif name.removesuffix(ANY) in scanned:
            rest.append(condition(name, table.c[split_filter(name)[0]]))
        else:
            field = "position" if name in HEIGHTS else split_filter(name)[0]
            found.append(condition(name, table.c[field]))
    extras = {"total": count_of(table, [*found, *rest])} if counted else {}
    if scanned:
        edge = _edge(table, found, sort)
        extras["edge"] = edge
        here = table.c.position
        last = here >= func.coalesce(edge, here)
        if not sort.descending:
            last = here <= func.coalesce(edge, here)
        rest.append(last)
    rows = sorted_rows(table, _visible(event, in_units), [*found, *rest], sort)
    return statement(freshness, rows, sort, extras)


def _edge(
    table: Table, conditions: Sequence[ColumnElement[bool]], sort: Sort
) -> ScalarSelect[Any]:
    """The position of the last fact that a page looks at, if there are so many."""
    here = table.c.position
    begin = [beyond([here], sort, 0)] if sort.after else []
    return (
        select(here)
        .where(*conditions, *begin)
        .order_by(here.desc() if sort.descending else here.asc())
        .offset(bindparam("scan_rest"))
        .limit(literal_column("1"))
        .scalar_subquery()
    )


def _near(event: type[Event], name: str) -> ColumnElement[bool]:
    """The positions that may be in a range of time, found in the index by position.

    It holds the facts in order of their blocks, and blocks are in order of time: 31
    looks say from which height on no fact is of a time before another. A clock that
    goes back by less than `TIME_SLACK_SECONDS` hides nothing.
    """
    table = fact_table(event)
    bound = (
        text(_BISECT.format(table=table.fullname, bits=ORDINAL_BITS, time=name))
        .columns(position=BigInteger)
        .scalar_subquery()
    )
    return table.c.position >= bound if name == SINCE else table.c.position < bound


_BISECT = """
    WITH RECURSIVE part(low, high) AS (
        SELECT cast(-1 AS bigint), coalesce(:as_of, checkpoint) + 1 FROM freshness
        UNION ALL
        SELECT CASE WHEN early THEN half ELSE low END,
            CASE WHEN early THEN high ELSE half END
        FROM part
        CROSS JOIN LATERAL (SELECT (low + high) / 2 AS half) AS middle
        CROSS JOIN LATERAL (
            SELECT coalesce((
                SELECT fact.block_time FROM {table} AS fact
                WHERE fact.source = :source AND fact.position >= half << {bits}
                ORDER BY fact.position LIMIT 1
            ) < :near_{time}, false) AS early
        ) AS fact
        WHERE high - low > 1
    )
    SELECT high << {bits} AS position FROM part ORDER BY high - low LIMIT 1
"""


def _visible(
    event: type[Event], in_units: bool
) -> list[tuple[Column, ColumnElement[Any]]]:
    table = fact_table(event)
    found: list[tuple[Column, ColumnElement[Any]]] = []
    for name, column in fact_columns(event, in_units=in_units).items():
        if name == "height":
            found.append((column, table.c.position.op(">>")(ORDINAL_BITS)))
        else:
            found.append((column, table.c[name]))
    return found
