"""Connections: one way to open them, and the locks that writers take."""

import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

# What a statement raises when the database is away, and may be tried again for.
Unavailable = (OperationalError, InterfaceError)
# Whatever else a statement may raise: two writers met, a disk is full, a bug.
Refused = SQLAlchemyError

DATA_EXCEPTION = "22"  # the class of such codes (PostgreSQL, appendix A)
AT_ONCE = "chainfold_at_once"  # marks an engine that is in autocommit already

_DECLARATIONS = 0x63666C64  # the class of all our advisory locks: "cfld"
_ALL = 0


def connect(url: str, *, pool_size: int = 5, read_only: bool = False) -> Engine:
    """An engine on a database; connections are checked before they are used.

    With `read_only` Postgres refuses every write on it, as a replica would.
    """
    options = {"options": "-c default_transaction_read_only=on"} if read_only else {}
    arguments = {"connect_timeout": 10, "application_name": "chainfold", **options}
    return without_values(
        create_engine(
            _driven(make_url(url)),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=arguments,
        )
    )


def connect_at_once(url: str | URL, *, pool_size: int = 5) -> Engine:
    """An engine whose every statement is a transaction of its own.

    Nothing is left behind, so connections are not reset after use, nor tested before
    it: where one may be dead, use `db.reads.read`, which tries once more.
    """
    return without_values(
        create_engine(
            _driven(make_url(url)),
            isolation_level="AUTOCOMMIT",
            execution_options={AT_ONCE: True},
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_reset_on_return=None,
            hide_parameters=True,
            connect_args={"connect_timeout": 10, "application_name": "chainfold"},
        )
    )


def without_values(engine: Engine) -> Engine:
    """An engine whose errors hold no value of a statement, for they come into logs.

    SQLAlchemy hides the parameters. But Postgres shows the row that it refused and the
    line of the statement, into which psycopg2 has written the parameters.
    """

    def cut(context: ExceptionContext) -> None:
        original, wrapped = context.original_exception, context.sqlalchemy_exception
        code = getattr(original, "pgcode", None)
        if code is None:
            return
        message = str(original).split("\n", 1)[0]
        if code.startswith(DATA_EXCEPTION):  # "invalid input syntax …: "<the value>""
            message = message.split('"', 1)[0] + "(a value that is not shown)"
        original.args = (message,)
        if wrapped is not None:
            kind = f"{type(original).__module__}.{type(original).__name__}"
            wrapped.args = (f"({kind}) {message}",)

    event.listen(engine, "handle_error", cut)
    return engine


def _driven(url: URL) -> URL:
    """Return the URL with the psycopg2 driver (SQLAlchemy 2.1 would take psycopg 3)."""
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg2")
    return url


def sqlstate(error: DBAPIError) -> str | None:
    """The code of what Postgres refused (PostgreSQL documentation, appendix A)."""
    return getattr(error.orig, "pgcode", None)


def lock_declarations(connection: Connection, *, alone: bool) -> None:
    """Until commit: shared by all that write rows, alone by what changes tables."""
    _lock(connection, _ALL, alone=alone)


def lock_projection(connection: Connection, name: str, *, alone: bool) -> None:
    """Until commit: shared by merges, alone by repairs and order-dependent folds."""
    _lock(connection, zlib.crc32(name.encode()) - (1 << 31), alone=alone)


def lock_file(connection: Connection, name: str) -> None:
    """Until commit: alone with the stored file of this name."""
    key = zlib.crc32(f"file:{name}".encode()) - (1 << 31)
    _lock(connection, key, alone=True)


def _lock(connection: Connection, key: int, *, alone: bool) -> None:
    function = "pg_advisory_xact_lock" + ("" if alone else "_shared")
    connection.execute(
        text(f"SELECT {function}(:space, :key)"), {"space": _DECLARATIONS, "key": key}
    )


def may_write(connection: Connection) -> bool:
    """Whether rows may be changed: this is no replica, and the role has the rights."""
    return bool(
        connection.scalar(
            text(
                "SELECT NOT pg_is_in_recovery()"
                " AND NOT current_setting('transaction_read_only')::boolean"
                " AND has_table_privilege('control.source', 'INSERT')"
                " AND has_table_privilege('control.source', 'UPDATE')"
            )
        )
    )


def ask_or_end(
    connection: Connection,
    statement: Executable,
    binds: Mapping[str, object] | None = None,
) -> Any:
    """The answer to a statement that changes a session: a lock of it, a setting.

    Where it fails nobody knows whether it was done, and a pooled session would keep
    that: the session is ended.
    """
    try:
        result = connection.execute(statement, binds)
        return result.scalar() if result.returns_rows else None
    except BaseException:
        connection.invalidate()
        raise
