"""Transactions that named a followed program and changed nothing, as they are read."""

from typing import Any

from sqlalchemy import Connection, select

from db.control import failed_transaction as failed
from db.declare.times import time_text
from db.position import height_of
from idl.base58 import to_base58


def failures(
    connection: Connection,
    source: int,
    *,
    program: bytes | None,
    error: str | None,
    before: int | None,
    limit: int,
) -> tuple[list[dict[str, Any]], int | None]:
    """A page of them, the newest first, and the position below which the next begins.

    `program` is the one that failed, `error` its word for it.
    """
    query = select(failed).where(failed.c.source == source)
    if program is not None:
        query = query.where(failed.c.program == program)
    if error is not None:
        query = query.where(failed.c.error == error)
    if before is not None:
        query = query.where(failed.c.position < before)
    rows = connection.execute(
        query.order_by(failed.c.position.desc()).limit(limit + 1)
    ).all()
    page = [
        {
            "position": str(row.position),
            "height": height_of(row.position),
            "block_time": time_text(row.block_time),
            "transaction": to_base58(bytes(row.transaction)),
            "program": None if row.program is None else to_base58(bytes(row.program)),
            "code": row.code,
            "error": row.error,
        }
        for row in rows[:limit]
    ]
    return page, rows[limit - 1].position if len(rows) > limit else None
