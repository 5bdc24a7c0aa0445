"""Statements compiled once.

SQLAlchemy's own cache makes a key of the whole statement for each execution, which
costs more than a small read. These are kept as text, and the driver fills in values.
They are not prepared in Postgres: EXECUTE has its snapshot before its locks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.sql.selectable import ReturnsRows

_DIALECT = psycopg2.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the driver takes it; `constants` are not given with each query."""

    sql: str
    constants: Mapping[str, Any]

    def run(
        self, connection: Connection, values: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """Every row."""
        return connection.exec_driver_sql(self.sql, {**self.constants, **values}).all()


def compiled(query: ReturnsRows) -> Statement:
    """A query as a statement; parameters without a value are given when it runs."""
    text = query.compile(dialect=_DIALECT)
    constants = {}
    for name, bind in text.binds.items():
        if not bind.required:
            process = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            constants[name] = bind.value if process is None else process(bind.value)
    return Statement(str(text), constants)
