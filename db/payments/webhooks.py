"""Webhooks as they came: raw, one for each event, and a call to whoever reads."""

from datetime import datetime

from sqlalchemy import Connection, func, select
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
