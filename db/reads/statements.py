"""Statements compiled once.

SQLAlchemy's own cache makes a key of the whole statement for each execution, which
costs more than a small read; so does its own result. These are kept as text, the driver
fills in values, and its rows are what is read.
They are not prepared in Postgres: EXECUTE has its snapshot before its locks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql.selectable import ReturnsRows

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the driver takes it; `constants` are not given with each query."""

    sql: str
    constants: Mapping[str, Any]

    def run(
        self, connection: Connection, values: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """Every row, straight from the driver; it fails as SQLAlchemy would."""
        given = {**self.constants, **values}
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self.sql, given)
            return cursor.fetchall()
        except psycopg2.Error as error:
            # A dead connection leaves the pool, and no value comes into the message.
            connection._handle_dbapi_exception(error, self.sql, given, cursor, None)
        finally:
            cursor.close()


def compiled(query: ReturnsRows) -> Statement:
    """A query as a statement; parameters without a value are given when it runs."""
    text = query.compile(dialect=_DIALECT)
    constants = {}
    for name, bind in text.binds.items():
        if not bind.required:
            process = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            constants[name] = bind.value if process is None else process(bind.value)
    return Statement(str(text), constants)
