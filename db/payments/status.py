"""The state of reading an account of Stripe, for whoever asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from db.control import stripe_waiting, stripe_webhook
from db.payments import drift, refunds
from db.payments import events as noted
from db.payments.account import AccountRow, find
from db.payments.drift import Reconciliation
from db.payments.refunds import RefundCounts

SILENT = timedelta(minutes=5)  # how old the last whole reading may be, or three polls


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """An account with what came of its events, what waits, and the last comparison."""

    row: AccountRow
    counts: Mapping[str, int]
    waiting: int
    webhooks: int
    reconciled: Reconciliation | None
    uncleared: int
    refunds: RefundCounts

    def trouble(self, now: datetime, poll_seconds: float) -> str:
        """Tell what is in the way, with its remedy; empty when all is well."""
        row = self.row
        if row.state in ("refused", "stopped"):
            return row.cause
        silent = max(SILENT, timedelta(seconds=3 * poll_seconds))
        if row.polled_at is None or now - row.polled_at > silent:
            if row.cause:
                return row.cause
            if not row.read_by:
                return "nobody reads it: run `chainfold run` or `chainfold index`"
            if row.polled_at is not None:
                return "it is read, and has not caught up: look at the reader's log"
        if self.counts.get("odd"):
            return (
                f"{self.counts['odd']} events are about objects that are not as the "
                "API's manual says: see control.stripe_waiting"
            )
        if self.uncleared:
            return (
                f"{self.uncleared} reconciliations found drift that nobody cleared: "
                "run `chainfold stripe reconciliations`"
            )
        if self.refunds.refused:
            return (
                f"{self.refunds.refused} refunds are not made: "
                f"{self.refunds.refused_because}. Ask for it again, or pay the buyer "
                "in another way; GET /api/v1/stripe_refunds?stage=refused lists them"
            )
        return ""


def payment_status(connection: Connection) -> PaymentStatus | None:
    """The account that is read; None: none was yet."""
    row = find(connection)
    if row is None:
        return None
    waiting = select(func.count()).select_from(stripe_waiting)
    hints = (
        select(func.count())
        .select_from(stripe_webhook)
        .where(stripe_webhook.c.fetched.is_(False))
    )
    return PaymentStatus(
        row=row,
        counts=noted.counts(connection, row.account),
        waiting=connection.scalar(waiting) or 0,
        webhooks=connection.scalar(hints) or 0,
        reconciled=drift.last(connection, row.account),
        uncleared=drift.uncleared(connection, row.account),
        refunds=refunds.counts(connection),
    )
