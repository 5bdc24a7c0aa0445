"""An account of Stripe that is read: how far, by whom, and what is in the way.

One process reads it at a time; what it writes is refused once another has its lease.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.dialects.postgresql import insert

from db.control import stripe_account
from db.errors import DatabaseError, LeaseLost
from db.processes import is_dead, owner_name, process_name

LEASE_SECONDS = 30  # a reader that was not seen for so long has lost its lease


class OtherAccount(DatabaseError):
    """The key is of another account, or mode, than what was read until now."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account as it stands; `cursor` is in seconds since 1970."""

    account: str
    livemode: bool
    cursor: int
    polled_at: datetime | None
    swept_at: datetime | None
    swept_added: int
    state: str
    cause: str
    read_by: str  # empty: by nobody
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReaderLease:
    """The lease of the one process that reads an account."""

    account: str
    token: str

    def guard(self, connection: Connection) -> None:
        """Renew the lease in a transaction; raises LeaseLost when another has it."""
        renewed = connection.execute(
            update(stripe_account)
            .where(stripe_account.c.account == self.account)
            .where(stripe_account.c.token == self.token)
            .values(seen_at=text("clock_timestamp()"))
        ).rowcount
        if renewed != 1:
            raise LeaseLost(
                f"another process reads the account {self.account} now; this one waits "
                "until it ends"
            )

    def leave(self, engine: Engine) -> None:
        """Give the lease up."""
        with engine.begin() as connection:
            connection.execute(
                update(stripe_account)
                .where(stripe_account.c.account == self.account)
                .where(stripe_account.c.token == self.token)
                .values(owner="", token="", process="", seen_at=None)
            )


_TAKE = text(
    "UPDATE control.stripe_account SET owner = :owner, token = :token,"
    " process = :process, seen_at = clock_timestamp()"
    " WHERE account = :account AND (token = '' OR token = :gone OR seen_at"
    " < clock_timestamp() - make_interval(secs => :patience))"
)


def register(connection: Connection, account: str, *, livemode: bool) -> AccountRow:
    """Make an account known; raises OtherAccount when another was read before."""
    rows = connection.execute(select(stripe_account)).all()
    for row in rows:
        if (row.account, row.livemode) != (account, livemode):
            raise OtherAccount(
                f"the key is of {_named(account, livemode)}, and this database has "
                f"payments of {_named(row.account, row.livemode)}. Give the key of "
                "that account, or another database"
            )
    connection.execute(
        insert(stripe_account)
        .values(account=account, livemode=livemode)
        .on_conflict_do_nothing()
    )
    found = find(connection)
    assert found is not None
    return found


def find(connection: Connection) -> AccountRow | None:
    """The account that is read; None: none was yet."""
    row = connection.execute(select(stripe_account)).first()
    if row is None:
        return None
    return AccountRow(
        row.account, row.livemode, row.cursor, row.polled_at, row.swept_at,
        row.swept_added, row.state, row.cause,
        "" if not row.token or is_dead(row.process) else row.owner, row.seen_at,
    )  # fmt: skip


def acquire_lease(engine: Engine, account: str) -> ReaderLease | None:
    """Take the reader's lease if it is free or its holder is gone."""
    token = secrets.token_hex(8)
    with engine.begin() as connection:
        query = select(stripe_account.c.token, stripe_account.c.process).where(
            stripe_account.c.account == account
        )
        held = connection.execute(query).one()
        values = {
            "account": account, "token": token, "owner": owner_name(),
            "process": process_name(), "patience": LEASE_SECONDS,
            "gone": held.token if held.token and is_dead(held.process) else "-",
        }  # fmt: skip
        taken = connection.execute(_TAKE, values).rowcount
    return ReaderLease(account, token) if taken else None


def lock(connection: Connection, account: str) -> None:
    """Hold an account until commit: what is said of it is said by one at a time."""
    query = select(stripe_account.c.account).where(stripe_account.c.account == account)
    connection.execute(query.with_for_update())


def move_cursor(connection: Connection, account: str, cursor: int) -> None:
    """Remember that every event up to a moment was read."""
    connection.execute(
        update(stripe_account)
        .where(stripe_account.c.account == account)
        .where(stripe_account.c.cursor < cursor)
        .values(cursor=cursor)
    )


def record_poll(connection: Connection, account: str, now: datetime) -> None:
    """Remember that everything that Stripe told was read."""
    connection.execute(
        update(stripe_account)
        .where(stripe_account.c.account == account)
        .values(polled_at=now, state="reading", cause="")
    )


def record_sweep(
    connection: Connection, account: str, now: datetime, *, added: int
) -> None:
    """Remember that all events were looked through, and how many entries that made."""
    connection.execute(
        update(stripe_account)
        .where(stripe_account.c.account == account)
        .values(swept_at=now, swept_added=stripe_account.c.swept_added + added)
    )


def record_trouble(
    connection: Connection, account: str, state: str, cause: str
) -> None:
    """Remember what is in the way: `retrying`, `refused` or `stopped`, and why."""
    connection.execute(
        update(stripe_account)
        .where(stripe_account.c.account == account)
        .values(state=state, cause=cause[:500])
    )


def _named(account: str, livemode: bool) -> str:
    return f"{account} ({'live' if livemode else 'test'} mode)"
