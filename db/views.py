"""The views that people and the API read, made what the declarations say."""

import hashlib
from typing import Any

from sqlalchemy import Connection, Select, select, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from db.journal.readers import guard_views
from db.registry import Registry
from db.sql.columns import STATE, state_table
from db.sql.ddl import fact_view, projection_view

# Renders statements without parameters, and so without doubling each `%`.
_DDL = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]


def replace_views(connection: Connection, registry: Registry) -> None:
    """Make every view what it should be; whoever reads one waits until the commit."""
    for event in registry.events.values():
        spec = event.spec
        _replace_view(connection, "public", spec.table, fact_view(event), spec.doc)
    for projection in registry.projections.values():
        row = projection.spec
        raw = select(*state_table(row).columns)
        _replace_view(connection, STATE, row.plural, raw, row.doc)
        _replace_view(connection, "public", row.plural, projection_view(row), row.doc)
    guard_views(connection, registry)


def _replace_view(
    connection: Connection, schema: str, name: str, rows: Select[Any], doc: str
) -> None:
    """Make a view what it should be; one that is already is not touched."""
    compiled = rows.compile(dialect=_DDL, compile_kwargs={"literal_binds": True})
    digest = hashlib.sha256(str(compiled).encode()).hexdigest()[:12]
    comment = f"{doc.split(chr(10), 1)[0]} [{digest}]"
    quote = connection.dialect.identifier_preparer.quote
    target = f"{quote(schema)}.{quote(name)}"
    current = connection.execute(
        text("SELECT obj_description(to_regclass(:name), 'pg_class')"),
        {"name": target},
    ).scalar()
    if current == comment:
        return
    drop_view(connection, schema, name)
    literal = comment.replace("'", "''")
    for statement in (
        f"CREATE VIEW {target} AS {compiled}",
        f"COMMENT ON VIEW {target} IS '{literal}'",
    ):
        # As it is written: a `%` in it is no parameter.
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def drop_view(connection: Connection, schema: str, name: str) -> None:
    """Drop a view if it is there."""
    quote = connection.dialect.identifier_preparer.quote
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quote(schema)}.{quote(name)}")
