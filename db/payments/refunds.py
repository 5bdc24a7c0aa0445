"""Refunds that entries ask for, each a row before Stripe is asked.

A row is named by the position of its `RefundAsked` and tells which attempt is under way
and since when, so that whoever goes on with it, in this process or another, asks Stripe
with the same idempotency key.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Update, func, literal, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from db.control import stripe_refund
from db.payments.stripe.entries import RefundAsked
from db.sql.columns import fact_table

OPEN, MADE, REFUSED = "open", "made", "refused"


@dataclass(frozen=True, slots=True)
class RefundRow:
    """A refund that is asked for; `amount` 0 is all that is left of the charge.

    `asked_at` is None while Stripe was not asked for the coming attempt.
    """

    ask: int
    charge: str
    domain: str
    purchase: str
    amount: int
    attempt: int
    asked_at: datetime | None

    @property
    def key(self) -> str:
        """The name of the refund, the same for each attempt."""
        return f"refund:{self.charge}:{self.ask}"


@dataclass(frozen=True, slots=True)
class RefundCounts:
    """The numbers of refunds under way and of refusals that stand, with a cause."""

    waiting: int
    waits_because: str
    refused: int
    refused_because: str


def take_asked(connection: Connection, now: datetime) -> int:
    """Make a row of each entry that has none; how many there were.

    Entries are committed one after the other, so those above the last row are all.
    """
    asked, last = fact_table(RefundAsked), func.max(stripe_refund.c.ask)
    known = select(func.coalesce(last, -1)).scalar_subquery()
    found = select(
        asked.c.position, asked.c.charge, asked.c.domain, asked.c.purchase,
        asked.c.amount, literal(now),
    ).where(asked.c.position > known)  # fmt: skip
    columns = ["ask", "charge", "domain", "purchase", "amount", "next_at"]
    made = insert(stripe_refund).from_select(columns, found)
    return connection.execute(made.on_conflict_do_nothing()).rowcount


def due(connection: Connection, now: datetime, limit: int) -> list[RefundRow]:
    """The refunds to go on with now: of each charge only the one asked for first."""
    first = (
        select(stripe_refund)
        .where(stripe_refund.c.state == OPEN)
        .ext(distinct_on(stripe_refund.c.charge))
        .order_by(stripe_refund.c.charge, stripe_refund.c.ask)
        .subquery()
    )
    query = select(first).where(first.c.next_at <= now).order_by(first.c.ask)
    return [
        RefundRow(
            row.ask, row.charge, row.domain, row.purchase, row.amount, row.attempt,
            row.asked_at,
        )
        for row in connection.execute(query.limit(limit))
    ]  # fmt: skip


def begin(connection: Connection, row: RefundRow, now: datetime) -> RefundRow | None:
    """Begin the next attempt, when it is certain that none before made a refund.

    None when somebody else has begun it.
    """
    changed = connection.execute(
        _change(row.ask)
        .where(stripe_refund.c.attempt == row.attempt)
        .values(attempt=row.attempt + 1, asked_at=now)
    ).rowcount
    return replace(row, attempt=row.attempt + 1, asked_at=now) if changed else None


def note_made(connection: Connection, ask: int, refund: str) -> None:
    """Remember the refund that came of a request."""
    connection.execute(_change(ask).values(state=MADE, refund=refund, cause=""))


def note_refused(connection: Connection, ask: int, cause: str) -> bool:
    """Remember why no refund comes of a request; whether it was under way still."""
    change = _change(ask).values(state=REFUSED, cause=cause[:500])
    return connection.execute(change).rowcount == 1


def wait(
    connection: Connection, ask: int, cause: str, until: datetime, *, spent: bool
) -> None:
    """Go on at a later time, and say why.

    `spent`: Stripe answered that the attempt made no refund, so another may be begun.
    """
    change = _change(ask).values(cause=cause[:500], next_at=until)
    connection.execute(change.values(asked_at=None) if spent else change)


def counts(connection: Connection) -> RefundCounts:
    """Count the refunds under way, and those whose last request was refused."""
    last = (
        select(stripe_refund.c.charge, stripe_refund.c.state, stripe_refund.c.cause)
        .ext(distinct_on(stripe_refund.c.charge))
        .order_by(stripe_refund.c.charge, stripe_refund.c.ask.desc())
        .subquery()
    )
    found = {OPEN: (0, ""), REFUSED: (0, "")}
    query = select(
        last.c.state, func.count(), func.max(last.c.charge + ": " + last.c.cause)
        .filter(last.c.cause != "")
    ).where(last.c.state != MADE).group_by(last.c.state)  # fmt: skip
    for state, number, cause in connection.execute(query):
        found[state] = number, cause or ""
    return RefundCounts(*found[OPEN], *found[REFUSED])


def _change(ask: int) -> Update:
    """A change of a row that is under way."""
    is_open = stripe_refund.c.state == OPEN
    return update(stripe_refund).where(stripe_refund.c.ask == ask, is_open)
