"""Checkout sessions that were asked for, each under a key, before Stripe is asked.

A row says which attempt is under way and since when, so that whoever asks again with
the key, in this process or another, asks Stripe with the same idempotency key.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from db.control import stripe_session
from db.errors import DatabaseError


class KeyOfAnother(DatabaseError):
    """The key was used for another session."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session that was asked for; `session` is empty until its id is known."""

    key: str
    attempt: int
    asked_at: datetime
    session: str


def begin(connection: Connection, key: str, digest: str, now: datetime) -> SessionRow:
    """Remember that a session is asked for; the row of whoever asked first.

    `digest` is of what is asked for; raises KeyOfAnother when it differs.
    """
    connection.execute(
        insert(stripe_session)
        .values(key=key, digest=digest, asked_at=now)
        .on_conflict_do_nothing()
    )
    query = select(stripe_session).where(stripe_session.c.key == key)
    row = connection.execute(query).one()
    if row.digest != digest:
        raise KeyOfAnother(
            f"the key {key} was used for another checkout session: use a new key for "
            "another purchase, and the same key only to ask again for the same"
        )
    return SessionRow(row.key, row.attempt, row.asked_at, row.session)


def begin_again(
    connection: Connection, row: SessionRow, now: datetime
) -> SessionRow | None:
    """Begin another attempt, when it is certain that the last made no session.

    None when somebody else has begun it.
    """
    changed = connection.execute(
        update(stripe_session)
        .where(stripe_session.c.key == row.key)
        .where(stripe_session.c.attempt == row.attempt)
        .where(stripe_session.c.session == "")
        .values(attempt=row.attempt + 1, asked_at=now)
    ).rowcount
    if changed != 1:
        return None
    return SessionRow(row.key, row.attempt + 1, now, "")


def remember(connection: Connection, key: str, session: str) -> None:
    """Remember the session that came of a key."""
    connection.execute(
        update(stripe_session)
        .where(stripe_session.c.key == key)
        .where(stripe_session.c.session == "")
        .values(session=session)
    )


def find(connection: Connection, key: str) -> str | None:
    """The id of the session of a key; None while there is none."""
    query = select(stripe_session.c.session).where(stripe_session.c.key == key)
    return connection.execute(query).scalar() or None
