"""API keys: for programs, acting for an account with some of its roles."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from db.control import account, api_key
from db.records import from_row

# How exactly `last_used_at` is kept: a busy key need not write at each request.
USED_PRECISION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret."""

    id: uuid.UUID
    account: uuid.UUID
    name: str
    prefix: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_key(
    connection: Connection,
    account_id: uuid.UUID,
    digest: bytes,
    *,
    key_id: uuid.UUID,
    name: str,
    prefix: str,
    scopes: Collection[str],
    now: datetime,
    expires_at: datetime,
) -> ApiKey:
    """Store the digest of a new key."""
    values = {
        "id": key_id,
        "account": account_id,
        "name": name,
        "prefix": prefix,
        "digest": digest,
        "scopes": sorted(scopes),
        "created_at": now,
        "expires_at": expires_at,
    }
    statement = insert(api_key).values(values).returning(*_SHOWN)
    return _key(connection.execute(statement).one())


def find_key(connection: Connection, digest: bytes) -> ApiKey | None:
    """The key with a digest, be it of use or not."""
    row = connection.execute(select(*_SHOWN).where(api_key.c.digest == digest)).first()
    return None if row is None else _key(row)


def list_keys(connection: Connection, account_id: uuid.UUID) -> list[ApiKey]:
    """An account's keys, the oldest first."""
    query = select(*_SHOWN).where(api_key.c.account == account_id)
    return [_key(row) for row in connection.execute(query.order_by(api_key.c.id))]


def count_usable(
    connection: Connection, account_id: uuid.UUID, *, now: datetime
) -> int:
    """Count the usable keys of an account; one request at a time may count."""
    connection.execute(
        select(account.c.id).where(account.c.id == account_id).with_for_update()
    )
    query = select(func.count()).where(
        api_key.c.account == account_id,
        api_key.c.revoked_at.is_(None),
        api_key.c.expires_at > now,
    )
    return connection.execute(query).scalar_one()


def revoke_key(
    connection: Connection,
    *,
    account_id: uuid.UUID | None,
    prefix: str,
    now: datetime,
) -> ApiKey | None:
    """End a key, of one account or of any; None when there is no such key."""
    statement = update(api_key).where(api_key.c.prefix == prefix)
    if account_id is not None:
        statement = statement.where(api_key.c.account == account_id)
    connection.execute(
        statement.where(api_key.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    query = select(*_SHOWN).where(api_key.c.prefix == prefix)
    if account_id is not None:
        query = query.where(api_key.c.account == account_id)
    row = connection.execute(query).first()
    return None if row is None else _key(row)


def key_used(connection: Connection, key_id: uuid.UUID, now: datetime) -> None:
    """Note that a key was used, to the minute."""
    stale = or_(
        api_key.c.last_used_at.is_(None),
        api_key.c.last_used_at < now - USED_PRECISION,
    )
    connection.execute(
        update(api_key).where(api_key.c.id == key_id, stale).values(last_used_at=now)
    )


_SHOWN = [column for column in api_key.columns if column.name != "digest"]


def _key(row: Any) -> ApiKey:
    return from_row(ApiKey, row, scopes=frozenset(row.scopes))
