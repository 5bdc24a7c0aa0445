"""Nonces for messages that wallets sign: given out, and used once."""

import uuid
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from db.control import sign_in_nonce

SWEPT = 100  # how many that expired go when one is made


def add_nonce(
    connection: Connection,
    nonce: str,
    *,
    account_id: uuid.UUID | None,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Give out a nonce; some that expired are forgotten at this occasion."""
    expired = (
        select(sign_in_nonce.c.nonce)
        .where(sign_in_nonce.c.expires_at <= now)
        .limit(SWEPT)
        .with_for_update(skip_locked=True)
    )
    connection.execute(delete(sign_in_nonce).where(sign_in_nonce.c.nonce.in_(expired)))
    connection.execute(
        insert(sign_in_nonce).values(
            nonce=nonce, account=account_id, expires_at=expires_at
        )
    )


def use_nonce(
    connection: Connection,
    nonce: str,
    *,
    account_id: uuid.UUID | None,
    now: datetime,
) -> bool:
    """Use a nonce up; whether it was there, for this account, and in time.

    Of two that use it at once, one waits for the other and then finds nothing.
    """
    statement = delete(sign_in_nonce).where(
        sign_in_nonce.c.nonce == nonce,
        sign_in_nonce.c.account.is_not_distinct_from(account_id),
        sign_in_nonce.c.expires_at > now,
    )
    return connection.execute(statement).rowcount == 1
