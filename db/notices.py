"""Notices that were asked for: each is sent once, tried again, and kept as a log.

A sender takes a notice for a time: if it dies, another takes it when the time is over.
What was sent and not written down in that moment is then sent a second time.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.control import account, notice, wallet
from db.declare.notices import Notice, ToAccount, ToChannel

TAKEN, TAKEN_FOR = 5, timedelta(minutes=5)  # at once: each may take half a minute
KEPT_FOR = timedelta(days=90)
REASON_MAX = 500


class NoticeState(StrEnum):
    """The state of a notice."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # not tried any more, until a person asks for it
    OFF = "off"  # the settings have no [notifications]: nobody is told


class RecipientKind(StrEnum):
    """The kind of a recipient."""

    ACCOUNT = "account"
    WALLET = "wallet"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice; `texts` are a subject and a text by language."""

    id: int
    name: str
    kind: RecipientKind
    recipient: str
    texts: Mapping[str, Sequence[str]]
    cause: str
    asked_at: datetime
    state: NoticeState
    attempts: int
    next_action_at: datetime | None
    reason: str
    sent_at: datetime | None


def ask(connection: Connection, item: Notice, *, cause: str, now: datetime) -> bool:
    """Ask for a notice, once for its cause or `once`; whether it is new."""
    kind, recipient = _recipient(item)
    named = "\0".join((item.once or cause, item.name, kind, recipient))
    made = connection.execute(
        insert(notice)
        .values(
            key=hashlib.sha256(named.encode()).hexdigest(), name=item.name, kind=kind,
            recipient=recipient, texts=item.texts, cause=cause, asked_at=now,
            next_action_at=now,
        )
        .on_conflict_do_nothing()
        .returning(notice.c.id)
    )  # fmt: skip
    return made.scalar() is not None


def take(connection: Connection, now: datetime, limit: int = TAKEN) -> list[NoticeRow]:
    """Take notices that are due; each is counted as an attempt."""
    due = (
        select(notice.c.id)
        .where(notice.c.next_action_at <= now)
        .order_by(notice.c.next_action_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(
        update(notice)
        .where(notice.c.id.in_(due.scalar_subquery()))
        .values(attempts=notice.c.attempts + 1, next_action_at=now + TAKEN_FOR)
        .returning(*notice.c)
    )
    return sorted(map(_row, rows), key=lambda row: row.id)


def note_sent(connection: Connection, number: int, now: datetime) -> None:
    """Record that a notice was sent."""
    _change(
        connection, number, state=NoticeState.SENT, sent_at=now, reason="",
        next_action_at=None,
    )  # fmt: skip


def note_not_sent(
    connection: Connection, number: int, reason: str, again_at: datetime | None
) -> None:
    """Record why a notice was not sent, and when it is tried again; None: it is not."""
    state = NoticeState.FAILED if again_at is None else NoticeState.WAITING
    _change(
        connection, number, state=state, reason=reason[:REASON_MAX],
        next_action_at=again_at,
    )  # fmt: skip


def note_off(connection: Connection, number: int) -> None:
    """Record that notices are not sent here."""
    _change(connection, number, state=NoticeState.OFF, next_action_at=None)


def retry(connection: Connection, number: int, now: datetime) -> bool:
    """Try a notice again that failed or was off; whether there is one."""
    done = connection.execute(
        update(notice)
        .where(notice.c.id == number)
        .where(notice.c.state.in_((NoticeState.FAILED, NoticeState.OFF)))
        .values(state=NoticeState.WAITING, attempts=0, next_action_at=now)
    )
    return done.rowcount == 1


def address_of(connection: Connection, row: NoticeRow) -> str | None:
    """Return the e-mail address of an account or of a wallet's owner, if there is one.

    An account that is disabled is not written to.
    """
    query = select(account.c.login).where(account.c.disabled_at.is_(None))
    if row.kind is RecipientKind.WALLET:
        found = wallet.c.address == bytes.fromhex(row.recipient)
        query = query.join(wallet, and_(wallet.c.account == account.c.id, found))
    else:
        try:
            query = query.where(account.c.id == uuid.UUID(row.recipient))
        except ValueError:
            return None
    login = connection.execute(query).scalar()
    return login if login is not None and "@" in login else None


def latest(
    connection: Connection, *, limit: int, before: int | None = None,
    state: NoticeState | None = None,
) -> list[NoticeRow]:  # fmt: skip
    """Return notices, newest first, below an id."""
    query = select(*notice.c).order_by(notice.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(notice.c.id < before)
    if state is not None:
        query = query.where(notice.c.state == state)
    return [_row(row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[NoticeState, int]:
    """Return how many notices there are in each state."""
    query = select(notice.c.state, func.count()).group_by(notice.c.state)
    found = {state: int(number) for state, number in connection.execute(query)}
    return {state: found.get(state, 0) for state in NoticeState}


def forget(connection: Connection, now: datetime) -> int:
    """Delete what ended long ago; how many."""
    ended = notice.c.next_action_at.is_(None)
    old = notice.c.asked_at < now - KEPT_FOR
    return connection.execute(delete(notice).where(ended, old)).rowcount


def _recipient(item: Notice) -> tuple[RecipientKind, str]:
    if isinstance(item.to, ToAccount):
        return RecipientKind.ACCOUNT, item.to.id
    if isinstance(item.to, ToChannel):
        return RecipientKind.CHANNEL, item.to.name
    return RecipientKind.WALLET, item.to.address.hex()


def _row(row: Row[Any]) -> NoticeRow:
    return NoticeRow(
        row.id, row.name, RecipientKind(row.kind), row.recipient, row.texts, row.cause,
        row.asked_at, NoticeState(row.state), row.attempts, row.next_action_at,
        row.reason, row.sent_at,
    )  # fmt: skip


def _change(connection: Connection, number: int, **values: object) -> None:
    connection.execute(update(notice).where(notice.c.id == number).values(**values))
