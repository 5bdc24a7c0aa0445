"""A full disk is told by a lock, which takes no room on it.

Where a follower cannot write that the disk is full, it holds an advisory lock on its
source: such locks are in Postgres's memory, everybody may see them, and they end with
the session. A replica does not have those of its primary.
"""

from sqlalchemy import Connection, Engine, text

_SPACE = 0x63666664  # the class of these locks: "cffd"
_HOLD = text("SELECT pg_advisory_lock_shared(:space, :source)")
_IS_HELD = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
    " AND classid = :space AND objid = :source AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


def tell(engine: Engine, source: int) -> Connection:
    """Tell that nothing of a source can be written, until the connection is closed."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()  # closing it ends the session, and not only its use
    try:
        connection.execute(_HOLD, {"space": _SPACE, "source": source})
    except BaseException:
        connection.close()
        raise
    return connection


def is_told(connection: Connection, source: int) -> bool:
    """Whether the follower of a source finds no room to write."""
    given = {"space": _SPACE, "source": source}
    return bool(connection.execute(_IS_HELD, given).scalar())
