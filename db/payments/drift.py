"""Comparisons of the journal with Stripe's balance, and who cleared their drift."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from db.control import stripe_reconciliation
from db.errors import DatabaseError


class NoReconciliation(DatabaseError):
    """There is no such comparison with drift, or somebody has cleared it already."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison. `found` is its result as JSON, amounts in whole minor units."""

    id: int
    account: str
    since: int
    until: int
    ran_at: datetime
    well: bool
    found: Mapping[str, Any]
    cleared_at: datetime | None
    cleared_by: str
    reason: str


def keep(
    connection: Connection, account: str, *, since: int, until: int, well: bool,
    found: Mapping[str, Any], now: datetime,
) -> int:  # fmt: skip
    """Keep a comparison; its number."""
    statement = insert(stripe_reconciliation).values(
        account=account, since=since, until=until, ran_at=now, well=well,
        found=dict(found),
    )  # fmt: skip
    made = statement.returning(stripe_reconciliation.c.id)
    return int(connection.execute(made).scalar_one())


def clear(
    connection: Connection, number: int, *, by: str, reason: str, now: datetime
) -> Reconciliation:
    """Say that the drift of a comparison is understood; raises NoReconciliation."""
    row = connection.execute(
        update(stripe_reconciliation)
        .where(stripe_reconciliation.c.id == number)
        .where(stripe_reconciliation.c.well.is_(False))
        .where(stripe_reconciliation.c.cleared_at.is_(None))
        .values(cleared_at=now, cleared_by=by, reason=reason)
        .returning(stripe_reconciliation)
    ).first()
    if row is None:
        raise NoReconciliation(
            f"there is no open reconciliation {number}: `chainfold stripe "
            "reconciliations` lists them"
        )
    return Reconciliation(**row._mapping)


def listed(
    connection: Connection, *, every: bool = False, limit: int = 100
) -> list[Reconciliation]:
    """The comparisons with drift that nobody cleared, or all; the newest first."""
    query = select(stripe_reconciliation).order_by(stripe_reconciliation.c.id.desc())
    if not every:
        query = query.where(
            stripe_reconciliation.c.well.is_(False),
            stripe_reconciliation.c.cleared_at.is_(None),
        )
    return [
        Reconciliation(**row._mapping) for row in connection.execute(query.limit(limit))
    ]


def last(connection: Connection, account: str) -> Reconciliation | None:
    """The last comparison of an account."""
    query = (
        select(stripe_reconciliation)
        .where(stripe_reconciliation.c.account == account)
        .order_by(stripe_reconciliation.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else Reconciliation(**row._mapping)


def uncleared(connection: Connection, account: str) -> int:
    """Count the comparisons that found drift which nobody cleared."""
    query = (
        select(func.count())
        .select_from(stripe_reconciliation)
        .where(
            stripe_reconciliation.c.account == account,
            stripe_reconciliation.c.well.is_(False),
            stripe_reconciliation.c.cleared_at.is_(None),
        )
    )
    return int(connection.scalar(query) or 0)
