"""A read-only engine, and running reads on it."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.engine import AT_ONCE, without_values
from db.reads.errors import DatabaseAway, ReadError, SchemaChanged, TooSlow

T = TypeVar("T")

_QUERY_CANCELED = "57014"
_PASSING = {"40001", "40P01"}  # serialization failure, deadlock: the other one went on
_STARTING = ("57P01", "57P02", "57P03")  # shut down, crashed, cannot connect now


def read_engine(
    url: str, *, pool_size: int = 8, statement_timeout_seconds: float = 5.0
) -> Engine:
    """An engine that cannot write, whose statements are cut off after a while.

    Connections are not tested before use and not reset after it (a read leaves nothing
    behind): `read` tries once more when one turns out to be dead.
    """
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    options = (
        "-c default_transaction_read_only=on"
        f" -c statement_timeout={int(statement_timeout_seconds * 1000)}"
    )
    made = create_engine(
        parsed,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        execution_options={AT_ONCE: True},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=statement_timeout_seconds,
        pool_reset_on_return=None,
        connect_args={
            "connect_timeout": 5,
            "application_name": "chainfold-api",
            "options": options,
        },
    )
    return without_values(made)


def read(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run a read in autocommit, and once more if its connection was dead.

    What the driver raises comes out as a `ReadError`.
    """
    if not engine.get_execution_options().get(AT_ONCE):
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        return _once(engine, work)
    except DBAPIError as error:
        if not (error.connection_invalidated or _code(error) in _PASSING):
            raise _translated(error) from error
    except PoolTimeout as error:  # every connection is in use
        raise DatabaseAway from error
    try:
        return _once(engine, work)
    except DBAPIError as error:
        raise _translated(error) from error


def _once(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return work(connection)


def _translated(error: DBAPIError) -> ReadError | DBAPIError:
    code = _code(error)
    if code == _QUERY_CANCELED:
        return TooSlow()
    if error.connection_invalidated or code is None or code in _STARTING:
        # The driver gives no code when it could not connect at all.
        return DatabaseAway() if isinstance(error, OperationalError) else error
    if isinstance(error, ProgrammingError) and code in ("42P01", "42703", "3F000"):
        return SchemaChanged()
    return DatabaseAway() if isinstance(error, OperationalError) else error


def _code(error: DBAPIError) -> str | None:
    code: str | None = getattr(error.orig, "pgcode", None)
    return code
