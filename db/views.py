"""Create the views that people and the API read."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Select, select, text

from db.journal.readers import guard_views
from db.registry import Registry
from db.sql.columns import STATE, state_table
from db.sql.comments import fact_comments, row_comments
from db.sql.ddl import DDL_DIALECT, fact_view, projection_view, run_all

_COMMENTS = text(
    """
    SELECT n.nspname, c.relname, obj_description(c.oid, 'pg_class')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'v' AND n.nspname IN ('public', :state)
    """
).bindparams(state=STATE)

_COLUMNS = text(
    """
    SELECT c.relname, a.attname, col_description(c.oid, a.attnum)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind = 'v' AND n.nspname = 'public'
    """
)

Comments = Mapping[tuple[str, str], str | None]


def replace_views(connection: Connection, registry: Registry) -> None:
    """Replace every view; readers wait until the commit."""
    known = {(schema, name): c for schema, name, c in connection.execute(_COMMENTS)}
    changes: list[str] = []
    for event in registry.events.values():
        spec = event.spec
        changes += _change(known, "public", spec.table, fact_view(event), spec.doc)
    for projection in registry.projections.values():
        row = projection.spec
        raw = _compiled(select(*state_table(row).columns))
        changes += _change(known, STATE, row.plural, raw, row.doc)
        shown = _compiled(projection_view(row))
        changes += _change(known, "public", row.plural, shown, row.doc)
    run_all(connection, changes)
    run_all(connection, list(_columns(connection, registry)))
    guard_views(connection, registry)


def _compiled(rows: Select[Any]) -> str:
    literal = {"literal_binds": True}
    return str(rows.compile(dialect=DDL_DIALECT, compile_kwargs=literal))


def _change(
    known: Comments, schema: str, name: str, rows: str, doc: str
) -> Iterator[str]:
    """The statements that make a view what it should be; none if it is already."""
    digest = hashlib.sha256(rows.encode()).hexdigest()[:12]
    comment = f"{doc.split(chr(10), 1)[0]} [{digest}]"
    if known.get((schema, name)) == comment:
        return
    quote = DDL_DIALECT.identifier_preparer.quote
    target = f"{quote(schema)}.{quote(name)}"
    literal = comment.replace("'", "''")
    if (schema, name) in known:
        yield f"DROP VIEW {target}"
    yield f"CREATE VIEW {target} AS {rows}"
    yield f"COMMENT ON VIEW {target} IS '{literal}'"


def _columns(connection: Connection, registry: Registry) -> Iterator[str]:
    """The statements that give columns their comments, where they are not so yet."""
    wanted = {e.spec.table: fact_comments(e) for e in registry.events.values()}
    for plural, projection in registry.projections.items():
        wanted[plural] = row_comments(projection.spec)
    quote = DDL_DIALECT.identifier_preparer.quote
    for view, column, comment in connection.execute(_COLUMNS):
        wish = wanted.get(view, {}).get(column, comment)
        if wish is not None and wish != comment:
            literal = wish.replace("'", "''")
            name = f"public.{quote(view)}.{quote(column)}"
            yield f"COMMENT ON COLUMN {name} IS '{literal}'"


def drop_view(connection: Connection, schema: str, name: str) -> None:
    """Drop a view if it is there."""
    quote = connection.dialect.identifier_preparer.quote
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quote(schema)}.{quote(name)}")
