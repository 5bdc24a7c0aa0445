"""Grants on the views of the journal."""

from sqlalchemy import Connection, text

from db.declare.readers import Readers
from db.registry import Registry

READER = "chainfold_reader"  # the role for people who read with SQL

_ROLES = text(
    "SELECT has_table_privilege(oid, to_regclass(:view), 'SELECT')"
    " FROM pg_roles WHERE rolname = :role"
)


def guard_views(connection: Connection, registry: Registry) -> None:
    """Let the readers' role see a view of the journal exactly when everyone may.

    Postgres does not know who of them has which of our roles.
    """
    views = {e.spec.table: e.spec.readable_by for e in registry.entries.values()}
    for plural, projection in registry.projections.items():
        if projection.spec.in_journal:
            views[plural] = projection.spec.readable_by
    for name, allowed in views.items():
        _guard(connection, name, allowed)


def _guard(connection: Connection, name: str, allowed: Readers) -> None:
    quote = connection.dialect.identifier_preparer.quote
    view = f"public.{quote(name)}"
    sees = connection.execute(_ROLES, {"view": view, "role": READER}).scalar()
    if sees is None or sees == (allowed is None):
        return
    change = f"REVOKE ALL ON {view} FROM"
    if allowed is None:
        change = f"GRANT SELECT ON {view} TO"
    connection.exec_driver_sql(f"{change} {READER}")
