"""Sessions: a sign-in, and the family of refresh tokens that came of it.

A refresh token is used once and gives the next one. One that is used again is either a
client that asked twice, or a thief; rotation tells them apart as well as can be:

    first use                                  ROTATED   the successor is stored
    again at once, its successor not yet used  REPEATED  the same successor again
    again later, or after its successor        REUSED    the family is revoked

The caller derives the successor from the token itself and a secret, so two requests
that race get the same one: the family stays a single line, and whoever falls behind on
it is found out when next they use what they have.
"""

import enum
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from db.control import account, refresh_token, session

# How long a client that lost an answer, or asked twice at once, may ask again.
GRACE = timedelta(seconds=10)
# Ended sessions are of use to whoever looks into a theft, and then no more.
KEPT = timedelta(days=30)
# The method of sessions that a cookie of the console stands for, and no access token.
CONSOLE = "console"
_REUSED = "refresh token used again"


class Rotation(enum.Enum):
    """The outcome of showing a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rotated:
    """The outcome, and the session and account that the token is of."""

    outcome: Rotation
    session: uuid.UUID | None = None
    account: uuid.UUID | None = None
    expires_at: datetime | None = None  # of the successor


def open_session(
    connection: Connection,
    account_id: uuid.UUID,
    *,
    session_id: uuid.UUID,
    method: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Begin a session; one that ended long ago is forgotten at this occasion."""
    connection.execute(
        delete(session).where(
            session.c.account == account_id, session.c.expires_at < now - KEPT
        )
    )
    connection.execute(
        insert(session).values(
            id=session_id,
            account=account_id,
            method=method,
            created_at=now,
            expires_at=expires_at,
        )
    )


def add_token(
    connection: Connection,
    session_id: uuid.UUID,
    digest: bytes,
    *,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store a session's next refresh token."""
    connection.execute(
        insert(refresh_token).values(
            digest=digest, session=session_id, issued_at=now, expires_at=expires_at
        )
    )


def rotate(
    connection: Connection,
    digest: bytes,
    successor: bytes,
    *,
    now: datetime,
    lifetime: timedelta,
) -> Rotated:
    """Exchange a refresh token for its successor; commit whatever the outcome is."""
    found = connection.execute(
        select(refresh_token.c.session).where(refresh_token.c.digest == digest)
    ).scalar()
    if found is None:
        return Rotated(Rotation.UNKNOWN)
    # The session is the lock of its family: two requests come one after the other.
    family = connection.execute(
        select(session).where(session.c.id == found).with_for_update()
    ).one()
    token = connection.execute(
        select(refresh_token).where(refresh_token.c.digest == digest)
    ).one()
    disabled = connection.execute(
        select(account.c.disabled_at).where(account.c.id == family.account)
    ).scalar()
    whose = family.id, family.account
    if token.rotated_at is not None and family.revoked_at is None:
        return _again(connection, token.rotated_at, successor, now, whose)
    ends = min(token.expires_at, family.expires_at)
    if family.method == CONSOLE:  # what its cookie holds gives no tokens
        return Rotated(Rotation.UNKNOWN)
    if family.revoked_at is not None or disabled is not None or ends <= now:
        return Rotated(Rotation.ENDED, *whose)
    connection.execute(
        update(refresh_token)
        .where(refresh_token.c.digest == digest)
        .values(rotated_at=now)
    )
    until = min(now + lifetime, family.expires_at)
    add_token(connection, family.id, successor, now=now, expires_at=until)
    return Rotated(Rotation.ROTATED, *whose, until)


def _again(
    connection: Connection,
    rotated_at: datetime,
    successor: bytes,
    now: datetime,
    whose: tuple[uuid.UUID, uuid.UUID],
) -> Rotated:
    """Handle a refresh token that was used before: a repetition, or a theft."""
    following = connection.execute(
        select(refresh_token).where(
            refresh_token.c.digest == successor,
            refresh_token.c.session == whose[0],
            refresh_token.c.rotated_at.is_(None),
        )
    ).first()
    if following is not None and now - rotated_at <= GRACE:
        return Rotated(Rotation.REPEATED, *whose, following.expires_at)
    revoke_session(connection, whose[0], now=now, reason=_REUSED)
    return Rotated(Rotation.REUSED, *whose)


def end_reused(
    connection: Connection, digest: bytes, *, now: datetime
) -> tuple[uuid.UUID, uuid.UUID] | None:
    """End the session of a used refresh token that was shown where none belongs.

    Returns the session and its account, None when the token is not a used one or the
    session has ended. There is no grace: whoever asks twice asks at the same place.
    """
    found = connection.execute(
        select(session.c.id, session.c.account)
        .join(refresh_token, refresh_token.c.session == session.c.id)
        .where(
            refresh_token.c.digest == digest,
            refresh_token.c.rotated_at.is_not(None),
            session.c.revoked_at.is_(None),
        )
    ).first()
    if found is None:
        return None
    revoke_session(connection, found.id, now=now, reason=_REUSED)
    return found.id, found.account


def revoke_session(
    connection: Connection, session_id: uuid.UUID, *, now: datetime, reason: str
) -> None:
    """End a session; its access tokens are refused from the next request on."""
    connection.execute(
        update(session)
        .where(session.c.id == session_id, session.c.revoked_at.is_(None))
        .values(revoked_at=now, reason=reason)
    )


def revoke_sessions(
    connection: Connection,
    account_id: uuid.UUID,
    *,
    now: datetime,
    reason: str,
    but: uuid.UUID | None = None,
) -> int:
    """End every session of an account, but one perhaps; how many there were."""
    statement = update(session).where(
        session.c.account == account_id,
        session.c.revoked_at.is_(None),
        session.c.id.is_distinct_from(but),
    )
    return connection.execute(statement.values(revoked_at=now, reason=reason)).rowcount
