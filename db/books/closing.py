"""Closing periods of the books, and whether closed ones are still as they were."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from db.books.chart import AccountChart
from db.books.days import end_of, last_day
from db.books.lines import Span, read_closes
from db.books.periods.entries import BooksClosed
from db.books.trial_balance import TrialBalance, read_trial_balance
from db.errors import DatabaseError
from db.journal.append import Actor, append
from db.journal.head import lock_head
from db.registry import Registry


class CannotClose(DatabaseError):
    """The period cannot be closed: it is closed already, or it is not over."""


@dataclass(frozen=True, slots=True)
class Period:
    """A closed period: up to `until`, by the entries before entry `seq`.

    `as_it_was` is whether its trial balance is still the one that was closed.
    """

    until: int
    seq: int
    closed_at: int
    digest: bytes
    as_it_was: bool

    @property
    def last_day(self) -> str:
        """Return its last day, as `2026-11-30`."""
        return last_day(self.until)


def close_period(
    connection: Connection, registry: Registry, day: date, actor: Actor, now: datetime
) -> TrialBalance:
    """Close the books up to the end of a day (UTC), in the caller's transaction.

    The journal is held until commit, so no entry comes between. Raises CannotClose.
    """
    head = lock_head(connection)
    until = end_of(day)
    if until > now.timestamp():
        raise CannotClose(f"{day} is not over (UTC): close a day that is")
    latest = max((each.until for each in read_closes(connection)), default=0)
    if until <= latest:
        raise CannotClose(
            f"the books are closed up to {last_day(latest)}: close a later day. What "
            "comes to be known about a closed period is dated after it by itself"
        )
    chart = AccountChart(registry.postings)
    balance = read_trial_balance(connection, chart, Span(until, through=head.seq))
    entry = BooksClosed(until=until, digest=balance.digest)
    append(connection, registry, entry, actor=actor, now=now)
    return balance


def closed_periods(connection: Connection, chart: AccountChart) -> Iterator[Period]:
    """Yield the closed periods, the earliest first, each compared with what is now."""
    for each in read_closes(connection):
        then = Span(each.until, through=each.seq - 1)
        now = read_trial_balance(connection, chart, then)
        later = read_trial_balance(connection, chart, Span(each.until))
        yield Period(
            each.until, each.seq, each.closed_at, each.digest,
            now.digest == later.digest == each.digest,
        )  # fmt: skip
