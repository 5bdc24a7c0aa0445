"""Failed sign-ins, counted in the database so that guessing is bounded without Redis.

An attempt is counted before the password is looked at, and taken back when it was
right: many at once cannot slip through between looking and counting.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.control import sign_in_attempt

SWEPT = 100  # how many old counts go when one is made


@dataclass(frozen=True, slots=True)
class Blocked:
    """Too many attempts; when to try again."""

    until: datetime


def subject(kind: str, *parts: str) -> bytes:
    """Return a digest of a login: what people type there may be their password."""
    content = "\0".join([kind, *(part.casefold() for part in parts)])
    return hashlib.sha256(content.encode()).digest()


def count_attempt(
    connection: Connection,
    limits: Mapping[bytes, int],
    *,
    now: datetime,
    window: timedelta,
) -> Blocked | None:
    """Count an attempt of each subject; Blocked when one of them had too many.

    Nothing is counted then, so that knocking on a closed door does not keep it closed.
    """
    _sweep(connection, now - window)
    values = [{"subject": each, "since": now, "failures": 1} for each in sorted(limits)]
    statement = upsert(sign_in_attempt).values(values)
    over = sign_in_attempt.c.since <= now - window
    counted = statement.on_conflict_do_update(
        index_elements=[sign_in_attempt.c.subject],
        set_={
            "since": case((over, now), else_=sign_in_attempt.c.since),
            "failures": case((over, 1), else_=sign_in_attempt.c.failures + 1),
        },
    ).returning(*sign_in_attempt.columns)
    blocked = [
        row.since + window
        for row in connection.execute(counted)
        if row.failures > limits[bytes(row.subject)]
    ]
    if not blocked:
        return None
    take_back(connection, *limits)
    return Blocked(max(blocked))


def take_back(connection: Connection, *subjects: bytes) -> None:
    """One attempt of each subject was none."""
    rows = _locked(connection, subjects)
    connection.execute(
        update(sign_in_attempt)
        .where(sign_in_attempt.c.subject.in_(rows))
        .values(failures=func.greatest(sign_in_attempt.c.failures - 1, 0))
    )


def forget(connection: Connection, *subjects: bytes) -> None:
    """Reset the failure counts of subjects that signed in."""
    rows = _locked(connection, subjects)
    connection.execute(
        delete(sign_in_attempt).where(sign_in_attempt.c.subject.in_(rows))
    )


def _locked(connection: Connection, subjects: tuple[bytes, ...]) -> list[bytes]:
    """The rows there are, locked in one order so that no two wait for each other."""
    query = (
        select(sign_in_attempt.c.subject)
        .where(sign_in_attempt.c.subject.in_(subjects))
        .order_by(sign_in_attempt.c.subject)
        .with_for_update()
    )
    return [bytes(row.subject) for row in connection.execute(query)]


def _sweep(connection: Connection, before: datetime) -> None:
    old = (
        select(sign_in_attempt.c.subject)
        .where(sign_in_attempt.c.since <= before)
        .limit(SWEPT)
        .with_for_update(skip_locked=True)
    )
    connection.execute(
        delete(sign_in_attempt).where(sign_in_attempt.c.subject.in_(old))
    )
