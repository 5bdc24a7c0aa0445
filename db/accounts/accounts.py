"""Accounts, their roles and their wallets."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.accounts.sessions import revoke_sessions
from db.control import account, wallet
from db.declare.roles import Role
from db.errors import DatabaseError
from db.records import from_row

PAGE = 200
EVM, SOLANA = "evm", "solana"  # kinds of wallets
ADDRESS_BYTES = {EVM: 20, SOLANA: 32}


class LoginTaken(DatabaseError):
    """Another account has this login."""


class WalletTaken(DatabaseError):
    """The wallet belongs to another account."""


class NoSuchAccount(DatabaseError):
    """There is no account with this login or id."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in, with their roles."""

    id: uuid.UUID
    login: str
    roles: frozenset[Role]
    created_at: datetime
    disabled_at: datetime | None
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Wallet:
    """An address that an account has shown to be its own."""

    kind: str  # evm or solana
    address: bytes
    linked_at: datetime


def create_account(
    connection: Connection,
    login: str,
    *,
    account_id: uuid.UUID,
    roles: Collection[Role],
    now: datetime,
    password_hash: str | None = None,
) -> Account:
    """Make an account; raises LoginTaken when there is one, in whatever case."""
    values = {
        "id": account_id,
        "login": login,
        "password_hash": password_hash,
        "roles": sorted(roles),
        "created_at": now,
    }
    statement = upsert(account).values(values).on_conflict_do_nothing()
    row = connection.execute(statement.returning(*account.columns)).first()
    if row is None:
        raise LoginTaken("an account with this login exists. Sign in, or use another.")
    return _account(row)


def find_account(connection: Connection, account_id: uuid.UUID) -> Account | None:
    """The account with an id."""
    row = connection.execute(select(account).where(account.c.id == account_id)).first()
    return None if row is None else _account(row)


def find_login(connection: Connection, login: str) -> Account | None:
    """The account with a login, whatever its case."""
    query = select(account).where(func.lower(account.c.login) == func.lower(login))
    row = connection.execute(query).first()
    return None if row is None else _account(row)


def list_accounts(
    connection: Connection, *, after: uuid.UUID | None = None, limit: int = PAGE
) -> list[Account]:
    """Accounts in the order they were made, from behind one on."""
    query = select(account).order_by(account.c.id).limit(min(limit, PAGE))
    if after is not None:
        query = query.where(account.c.id > after)
    return [_account(row) for row in connection.execute(query)]


def set_roles(
    connection: Connection, account_id: uuid.UUID, roles: Collection[Role]
) -> Account:
    """Give an account these roles and no others; they hold from the next request."""
    return _change(connection, account_id, roles=sorted(roles))


def set_password(
    connection: Connection, account_id: uuid.UUID, password_hash: str
) -> Account:
    """Store another hash of a password."""
    return _change(connection, account_id, password_hash=password_hash)


def set_disabled(
    connection: Connection, account_id: uuid.UUID, *, disabled: bool, now: datetime
) -> Account:
    """Shut an account out from the next request on, or let it in again.

    Its sessions end for good; its keys sleep, and wake when it is let in.
    """
    if disabled:
        revoke_sessions(connection, account_id, now=now, reason="account disabled")
    return _change(connection, account_id, disabled_at=now if disabled else None)


def link_wallet(
    connection: Connection,
    account_id: uuid.UUID,
    address: bytes,
    *,
    kind: str,
    now: datetime,
) -> None:
    """Give a wallet to an account; raises WalletTaken when it has another owner."""
    values = {"kind": kind, "address": address, "account": account_id, "linked_at": now}
    connection.execute(upsert(wallet).values(values).on_conflict_do_nothing())
    if wallet_owner(connection, address, kind=kind) != account_id:
        raise WalletTaken(
            "the wallet belongs to another account. Sign in with the wallet to use "
            "that one."
        )


def unlink_wallet(
    connection: Connection, account_id: uuid.UUID, address: bytes, *, kind: str
) -> None:
    """Take a wallet from its account."""
    connection.execute(
        wallet.delete().where(
            wallet.c.kind == kind,
            wallet.c.address == address,
            wallet.c.account == account_id,
        )
    )


def wallet_owner(
    connection: Connection, address: bytes, *, kind: str
) -> uuid.UUID | None:
    """The account that a wallet belongs to."""
    query = select(wallet.c.account).where(
        wallet.c.kind == kind, wallet.c.address == address
    )
    return connection.execute(query).scalar()


def wallets_of(connection: Connection, account_id: uuid.UUID) -> list[Wallet]:
    """An account's wallets, the first linked first."""
    query = (
        select(wallet.c.kind, wallet.c.address, wallet.c.linked_at)
        .where(wallet.c.account == account_id)
        .order_by(wallet.c.linked_at, wallet.c.address)
    )
    return [
        Wallet(row.kind, bytes(row.address), row.linked_at)
        for row in connection.execute(query)
    ]


def _change(connection: Connection, account_id: uuid.UUID, **values: Any) -> Account:
    statement = update(account).where(account.c.id == account_id).values(values)
    row = connection.execute(statement.returning(*account.columns)).first()
    if row is None:
        raise NoSuchAccount(f"no account {account_id}: look at the list of accounts.")
    return _account(row)


def _account(row: Any) -> Account:
    roles = frozenset(Role(role) for role in row.roles)
    return from_row(Account, row, roles=roles)
