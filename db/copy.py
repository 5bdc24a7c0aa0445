"""Bulk COPY of fact columns in Postgres's binary format.

A binary COPY row is int16 count, then for each column int32 length and the bytes. When
every column has a fixed size the rows are one uint8 matrix, filled column by column;
otherwise they are joined row by row.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import psycopg2
from sqlalchemy import (
    BigInteger,
    Connection,
    MetaData,
    Table,
    delete,
    except_all,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy import (
    Column as SqlColumn,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from db.declare import Event
from db.facts import FactColumns
from db.position import BlockRange
from db.sql.columns import fact_table
from db.wire import Bytes2D, Column, bigint_column

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_ASKED_AT_ONCE = 200  # tables in one question
_FIXED = ("source", "position", "block_time", "transaction")


def copy_facts(
    connection: Connection, table: Table, source: int, facts: FactColumns
) -> None:
    """COPY the facts of one event into a table with the columns of its fact table.

    Raises sqlalchemy.exc.IntegrityError when a fact at one of the positions exists.
    """
    names = [*_FIXED, *facts.event.spec.fields]
    count = len(facts)
    number = np.frombuffer(struct.pack(">h", source), dtype=np.uint8)
    columns: list[Column] = [
        np.broadcast_to(number, (count, 2)),
        bigint_column(facts.positions),
        bigint_column(facts.block_times),
        facts.transactions,
        *(facts.values[name] for name in facts.event.spec.fields),
    ]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    body = (
        _fixed_rows(arrays)
        if len(arrays) == len(columns)
        else _joined_rows(columns, count)
    )
    preparer = connection.dialect.identifier_preparer
    listed = ", ".join(preparer.quote(name) for name in names)
    statement = (
        f"COPY {preparer.format_table(table)} ({listed}) FROM STDIN (FORMAT binary)"
    )
    _copy(connection, statement, _HEADER + body + _TRAILER)


def insert_missing_facts(
    connection: Connection, source: int, facts: FactColumns
) -> Table | None:
    """Insert the facts that are not there yet; a table of their positions, if any."""
    table = fact_table(facts.event)
    added = Table(
        f"added_{table.name}",
        MetaData(),
        SqlColumn("position", BigInteger),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    staged = stage(connection, source, facts)
    connection.execute(CreateTable(added))
    names = [column.name for column in table.columns]
    fresh = (
        insert(table)
        .from_select(names, select(staged).order_by(staged.c.position))
        .on_conflict_do_nothing()
        .returning(table.c.position)
        .cte("fresh")
    )
    statement = insert(added).from_select(["position"], select(fresh.c.position))
    result: Any = connection.execute(statement)
    return added if result.rowcount else None


def differing_facts(
    connection: Connection, source: int, facts: FactColumns, blocks: BlockRange
) -> tuple[int, int]:
    """Count the facts of a range that are only stored, and those that are only given.

    `facts` are all of the event's in the range; every column is compared.
    """
    table = fact_table(facts.event)
    staged = stage(connection, source, facts)
    within = table.c.position.between(blocks.lowest, blocks.highest)
    stored = select(table).where(table.c.source == source, within)
    extra = except_all(stored, select(staged)).subquery()
    lacking = except_all(select(staged), stored).subquery()
    counts = connection.execute(
        select(
            select(func.count()).select_from(extra).scalar_subquery(),
            select(func.count()).select_from(lacking).scalar_subquery(),
        )
    ).one()
    staged.drop(connection)
    return int(counts[0]), int(counts[1])


def count_facts(
    connection: Connection, source: int, events: Iterable[type[Event]], at: BlockRange
) -> dict[str, int]:
    """Count the stored facts of each event in a range, by id, where there are any."""
    parts = []
    for event in events:
        table = fact_table(event)
        parts.append(
            select(literal(event.spec.id).label("event"), func.count().label("facts"))
            .select_from(table)
            .where(table.c.source == source)
            .where(table.c.position.between(at.lowest, at.highest))
        )
    if not parts:
        return {}
    rows = connection.execute(union_all(*parts))
    return {row.event: row.facts for row in rows if row.facts}


def stage(connection: Connection, source: int, facts: FactColumns) -> Table:
    """A temporary table that holds these facts."""
    table = fact_table(facts.event)
    staged = Table(
        f"staged_{table.name}", MetaData(), *(c._copy() for c in table.columns)
    )
    format_table = connection.dialect.identifier_preparer.format_table
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {format_table(staged)}"
        f" (LIKE {format_table(table)}) ON COMMIT DROP"
    )
    copy_facts(connection, staged, source, facts)
    return staged


def stored_events(
    connection: Connection, source: int, found: Sequence[FactColumns]
) -> set[str]:
    """The events of which some fact is stored between the first and last of these."""
    stored: set[str] = set()
    format_table = connection.dialect.identifier_preparer.format_table
    for at in range(0, len(found), _ASKED_AT_ONCE):
        asked = found[at : at + _ASKED_AT_ONCE]
        parts = [
            f"EXISTS (SELECT FROM {format_table(fact_table(facts.event))}"
            f" WHERE source = {source:d} AND position"
            f" BETWEEN {facts.positions[0]:d} AND {facts.positions[-1]:d})"
            for facts in asked
        ]
        row = connection.exec_driver_sql(f"SELECT {', '.join(parts)}").one()
        ids = [facts.event.spec.id for facts in asked]
        stored |= {id_ for id_, there in zip(ids, row, strict=True) if there}
    return stored


def delete_facts(
    connection: Connection, event: type[Event], source: int, lowest: int
) -> int:
    """Delete an event's facts at or above a position; how many there were."""
    table = fact_table(event)
    result: Any = connection.execute(
        delete(table).where(table.c.source == source, table.c.position >= lowest)
    )
    return int(result.rowcount)


def _copy(connection: Connection, statement: str, content: bytes) -> None:
    """COPY past SQLAlchemy, which has no word for it, but raise its errors."""
    raw: Any = connection.connection
    cursor = raw.cursor()
    try:
        cursor.copy_expert(statement, io.BytesIO(content), 1 << 20)
    except psycopg2.Error as error:
        if raw.dbapi_connection.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(statement, None, error, psycopg2.Error) from error
    finally:
        cursor.close()


def _fixed_rows(columns: Sequence[Bytes2D]) -> bytes:
    count = len(columns[0])
    width = 2 + sum(4 + column.shape[1] for column in columns)
    rows = np.empty((count, width), dtype=np.uint8)
    rows[:, :2] = np.frombuffer(struct.pack(">h", len(columns)), dtype=np.uint8)
    at = 2
    for column in columns:
        size = column.shape[1]
        rows[:, at : at + 4] = np.frombuffer(struct.pack(">i", size), dtype=np.uint8)
        rows[:, at + 4 : at + 4 + size] = column
        at += 4 + size
    return rows.tobytes()


def _joined_rows(columns: Sequence[Column], count: int) -> bytes:
    lead = struct.pack(">h", len(columns))
    parts: list[Sequence[bytes]] = [[lead] * count]
    for column in columns:
        values = _as_list(column)
        parts.append([struct.pack(">i", len(value)) + value for value in values])
    return b"".join(chain.from_iterable(zip(*parts, strict=True)))


def _as_list(column: Column) -> Sequence[bytes]:
    if isinstance(column, list):
        return column
    size = column.shape[1]
    flat = np.ascontiguousarray(column).tobytes()
    return [flat[at : at + size] for at in range(0, len(flat), size)]
