"""The kill switch: while a stop is there, a signer, or every one, signs nothing."""

from datetime import datetime

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from db.control import signing_stop

EVERYTHING = "*"


def stopped(connection: Connection, signer: str) -> str | None:
    """Return why nothing is signed for a signer; None: it is not stopped."""
    query = select(signing_stop.c.reason).where(
        or_(signing_stop.c.scope == signer, signing_stop.c.scope == EVERYTHING)
    )
    return connection.execute(query.limit(1)).scalar()


def stop_signing(
    connection: Connection, scope: str, reason: str, now: datetime
) -> None:
    """Sign nothing more for a signer, or for any: `EVERYTHING`."""
    statement = upsert(signing_stop).values(scope=scope, reason=reason, stopped_at=now)
    connection.execute(statement.on_conflict_do_nothing())


def allow_signing(connection: Connection, scope: str) -> None:
    """End a stop; ending that of everything ends those of each signer too."""
    statement = delete(signing_stop)
    if scope != EVERYTHING:
        statement = statement.where(signing_stop.c.scope == scope)
    connection.execute(statement)
