"""Look up the account behind a credential, at each request."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.sql.selectable import Select

from db.accounts.keys import USED_PRECISION
from db.accounts.sessions import CONSOLE
from db.control import account, api_key, refresh_token, session, wallet
from db.declare.roles import Role


@dataclass(frozen=True, slots=True)
class Identity:
    """An account that may act now, by a session or a key."""

    account: uuid.UUID
    roles: frozenset[Role]
    wallets: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class CookieIdentity:
    """An active account, and the session of its cookie."""

    account: uuid.UUID
    login: str
    roles: frozenset[Role]
    wallets: frozenset[bytes]
    session: uuid.UUID


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """An account that may act now through one of its keys."""

    account: uuid.UUID
    roles: frozenset[Role]
    wallets: frozenset[bytes]
    key: uuid.UUID
    prefix: str
    scopes: frozenset[str]
    used: bool  # lately, so that it need not be noted again


def session_identity(
    connection: Connection,
    session_id: uuid.UUID,
    *,
    account_id: uuid.UUID,
    now: datetime,
) -> Identity | None:
    """Return who has a session; None when it ended, or the account is disabled."""
    query = _accounts().join(session, session.c.account == account.c.id)
    row = connection.execute(
        query.where(
            session.c.id == session_id,
            session.c.method != CONSOLE,
            account.c.id == account_id,
            session.c.revoked_at.is_(None),
            session.c.expires_at > now,
        )
    ).first()
    return None if row is None else Identity(row.id, _roles(row), _wallets(row))


def cookie_identity(
    connection: Connection, digest: bytes, *, now: datetime
) -> CookieIdentity | None:
    """Return who has a cookie; None when it ended, or the account is disabled."""
    query = (
        _accounts(account.c.login, session.c.id.label("session"))
        .join(session, session.c.account == account.c.id)
        .join(refresh_token, refresh_token.c.session == session.c.id)
    )
    row = connection.execute(
        query.where(
            refresh_token.c.digest == digest,
            refresh_token.c.expires_at > now,
            refresh_token.c.rotated_at.is_(None),
            session.c.method == CONSOLE,
            session.c.revoked_at.is_(None),
            session.c.expires_at > now,
        )
    ).first()
    if row is None:
        return None
    return CookieIdentity(row.id, row.login, _roles(row), _wallets(row), row.session)


def key_identity(
    connection: Connection, digest: bytes, *, now: datetime
) -> KeyIdentity | None:
    """Return who a key acts for; None when it is unknown, expired or revoked."""
    columns: list[ColumnElement[Any]] = [
        api_key.c.id.label("key"),
        api_key.c.prefix,
        api_key.c.scopes,
        api_key.c.last_used_at,
    ]
    query = _accounts(*columns).join(api_key, api_key.c.account == account.c.id)
    row = connection.execute(
        query.where(
            api_key.c.digest == digest,
            api_key.c.revoked_at.is_(None),
            api_key.c.expires_at > now,
        )
    ).first()
    if row is None:
        return None
    last = row.last_used_at
    return KeyIdentity(
        account=row.id,
        roles=_roles(row),
        wallets=_wallets(row),
        key=row.key,
        prefix=row.prefix,
        scopes=frozenset(row.scopes),
        used=last is not None and last >= now - USED_PRECISION,
    )


def _accounts(*more: ColumnElement[Any]) -> Select[Any]:
    """Accounts that are not disabled, with their wallets."""
    wallets = (
        select(func.array_agg(wallet.c.address))
        .where(wallet.c.account == account.c.id)
        .correlate(account)
        .scalar_subquery()
    )
    columns = [account.c.id, account.c.roles, wallets.label("wallets"), *more]
    return select(*columns).select_from(account).where(account.c.disabled_at.is_(None))


def _roles(row: Any) -> frozenset[Role]:
    return frozenset(Role(role) for role in row.roles)


def _wallets(row: Any) -> frozenset[bytes]:
    return frozenset(bytes(address) for address in row.wallets or ())
