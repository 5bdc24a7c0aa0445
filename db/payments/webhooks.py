"""Webhooks as they came: raw, one for each event, and a call to whoever reads."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.control import stripe_webhook

CHANNEL = "chainfold_stripe"


def keep(
    connection: Connection, event: str, body: bytes, *, signed_at: int, now: datetime,
    fetched: bool = False,
) -> bool:  # fmt: skip
    """Keep a webhook and wake the reader; whether its event is new.

    With `fetched` the event is not retrieved by its id: it has none that can be.
    """
    new = connection.execute(
        insert(stripe_webhook)
        .values(
            event=event, received_at=now, signed_at=signed_at, body=body,
            fetched=fetched,
        )
        .on_conflict_do_nothing()
    ).rowcount  # fmt: skip
    connection.execute(select(func.pg_notify(CHANNEL, event)))
    return new == 1


def unfetched(connection: Connection, limit: int) -> dict[str, bytes]:
    """The events that were not retrieved yet, the first first, with their webhooks."""
    query = (
        select(stripe_webhook.c.event, stripe_webhook.c.body)
        .where(stripe_webhook.c.fetched.is_(False))
        .order_by(stripe_webhook.c.received_at)
        .limit(limit)
    )
    return {row.event: bytes(row.body) for row in connection.execute(query)}


def mark_fetched(connection: Connection, events: Collection[str]) -> None:
    """Remember that the events of webhooks were retrieved, or cannot be."""
    connection.execute(
        update(stripe_webhook)
        .where(stripe_webhook.c.event.in_(list(events)))
        .values(fetched=True)
    )
