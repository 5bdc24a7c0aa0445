"""Connections: one way to open them, and the locks that writers take."""

import zlib

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

# What a statement raises when the database is away, and may be tried again for.
Unavailable = (OperationalError, InterfaceError)
# Whatever else a statement may raise: two writers met, a disk is full, a bug.
Refused = SQLAlchemyError

_DECLARATIONS = 0x63666C64  # the class of all our advisory locks: "cfld"
_ALL = 0


def connect(url: str, *, pool_size: int = 5) -> Engine:
    """An engine on a database; connections are checked before they are used.

    `postgresql://` means psycopg 3 to SQLAlchemy 2.1; here it means psycopg2, which is
    installed.
    """
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    return create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "application_name": "chainfold"},
    )


def lock_declarations(connection: Connection, *, alone: bool) -> None:
    """Until commit: shared by all that write rows, alone by what changes tables."""
    _lock(connection, _ALL, alone=alone)


def lock_projection(connection: Connection, name: str, *, alone: bool) -> None:
    """Until commit: shared by merges, alone by repairs and order-dependent folds."""
    _lock(connection, zlib.crc32(name.encode()) - (1 << 31), alone=alone)


def _lock(connection: Connection, key: int, *, alone: bool) -> None:
    function = "pg_advisory_xact_lock" + ("" if alone else "_shared")
    connection.execute(
        text(f"SELECT {function}(:space, :key)"), {"space": _DECLARATIONS, "key": key}
    )
