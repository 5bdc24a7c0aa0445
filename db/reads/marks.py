"""Statements compiled once, and the smallest of them: how far events are read.

SQLAlchemy's own cache makes a key of the whole statement for each execution, which
costs more than a small read. These are kept as text, and the driver fills in values.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.sql.selectable import ReturnsRows

from db.coverage import Stream
from db.status import Mark, mark_binds, mark_of, mark_select

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


def read_mark(
    connection: Connection,
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None = None,
    *,
    as_of: int | None = None,
    relation: str = "",
) -> Mark:
    """How far these events (ids) of a chain are read, and nothing else."""
    binds = mark_binds(source, events, plan, as_of=as_of, relation=relation)
    rows = _mark_statement(plan is not None).run(connection, binds)
    return mark_of(known(rows, source)[0], as_of)


def known(rows: Sequence[Sequence[Any]], source: int) -> Sequence[Sequence[Any]]:
    """The rows; raises when there are none, as there is always one for a chain."""
    if not rows:
        raise LookupError(f"no chain has the number {source}")
    return rows


@cache
def _mark_statement(planned: bool) -> Statement:
    return compiled(mark_select(planned=planned))
