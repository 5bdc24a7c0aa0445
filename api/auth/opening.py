"""Open sessions: their tokens, and counters of failed sign-ins."""

from collections.abc import Mapping
from datetime import datetime
from math import ceil
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import Connection

from api.auth import secrets
from api.auth.audit import audit
from api.auth.context import AuthContext, client_address
from api.auth.routes import shape
from api.auth.tokens import new_access_token
from api.errors import Problem
from api.json_answers import MOMENT, moment
from commands.submit import new_id
from db.accounts import accounts, attempts, sessions
from db.commands.spelling import address_text

_TEXT = {"type": "string"}
TOKENS = shape(
    access_token=_TEXT,
    token_type=_TEXT,
    expires_in="integer",
    refresh_token=_TEXT,
    refresh_expires_at=MOMENT,
    account={"type": "string", "format": "uuid"},
)


def open_session(
    context: AuthContext, connection: Connection, account: accounts.Account, method: str
) -> dict[str, Any]:
    """Open a session; returns its first tokens."""
    if account.disabled_at is not None:
        audit("sign_in_refused", account=account.id, method=method, reason="disabled")
        raise Problem(
            "not_allowed", "The account is disabled. Ask an operator to enable it."
        )
    now, session = context.now(), new_id()
    token = secrets.new_refresh_token()
    ends = now + context.options.session_lifetime
    until = min(now + context.options.refresh_lifetime, ends)
    sessions.open_session(
        connection, account.id,
        session_id=session, method=method, now=now, expires_at=ends,
    )  # fmt: skip
    sessions.add_token(
        connection, session, secrets.digest(token), now=now, expires_at=until
    )
    audit("signed_in", account=account.id, method=method, session=session)
    return tokens(context, account.id, session, refresh_token=token, until=until)


def tokens(
    context: AuthContext,
    account: UUID,
    session: UUID,
    *,
    refresh_token: str,
    until: datetime,
) -> dict[str, Any]:
    """Return the tokens with which a client may act for an account."""
    return {
        "access_token": new_access_token(account, session),
        "token_type": "Bearer",
        "expires_in": int(context.options.access_lifetime.total_seconds()),
        "refresh_token": refresh_token,
        "refresh_expires_at": moment(until),
        "account": str(account),
    }


def refuse_sign_in(
    context: AuthContext,
    method: str,
    detail: str,
    *,
    account: UUID | None = None,
    reason: str,
) -> NoReturn:
    """Raise `bad_sign_in` without revealing whether the login exists."""
    audit("sign_in_refused", account=account, method=method, reason=reason)
    raise Problem("bad_sign_in", detail)


class AttemptCounter:
    """An attempt to sign in, counted before it is looked at.

    Raises the Problem `too_many_requests` when there were too many.
    """

    def __init__(self, context: AuthContext, login: str | None = None) -> None:
        options, address = context.options, client_address()
        self._context = context
        self._address = attempts.subject("address", address)
        limits = {self._address: options.attempts_from_address}
        if login is not None:
            limits[attempts.subject("login", login)] = options.attempts_of_login
            limits[attempts.subject("pair", login, address)] = options.attempts
        self._limits = limits
        self._count(limits)

    def _count(self, limits: Mapping[bytes, int]) -> None:
        now = self._context.now()
        with self._context.begin() as connection:
            blocked = attempts.count_attempt(
                connection, limits, now=now, window=self._context.options.attempt_window
            )
        if blocked is None:
            return
        seconds = max(1, ceil((blocked.until - now).total_seconds()))
        audit("sign_in_refused", reason="too many attempts")
        raise Problem(
            "too_many_requests",
            f"There were too many attempts to sign in. Try again in {seconds} seconds.",
            retry_after=seconds,
        )

    def succeeded(self, connection: Connection) -> None:
        """Reset the login's failure count; uncount this attempt for the address."""
        attempts.take_back(connection, self._address)
        attempts.forget(connection, *(self._limits.keys() - {self._address}))


def account_of_wallet(
    context: AuthContext, connection: Connection, address: bytes, *, kind: str
) -> accounts.Account:
    """Return the account of a wallet; a new one for an unknown wallet."""
    owner = accounts.wallet_owner(connection, address, kind=kind)
    if owner is None:
        return _begin_with_wallet(context, connection, address, kind=kind)
    found = accounts.find_account(connection, owner)
    assert found is not None
    return found


def _begin_with_wallet(
    context: AuthContext, connection: Connection, address: bytes, *, kind: str
) -> accounts.Account:
    if not context.options.registration:
        raise Problem(
            "registration_closed",
            "No account has this wallet, and accounts are not opened here. Sign in "
            "another way and link it, or ask an operator.",
        )
    account_id, login = new_id(), f"{kind}:{address_text(address)}"
    try:
        made = _create(context, connection, account_id, login)
    except accounts.LoginTaken:
        # Another request was first with this wallet; or the account that it began was
        # given other wallets and let this one go.
        owner = accounts.wallet_owner(connection, address, kind=kind)
        if owner is not None:
            found = accounts.find_account(connection, owner)
            assert found is not None
            return found
        made = _create(context, connection, account_id, f"{login}:{account_id}")
    accounts.link_wallet(connection, made.id, address, kind=kind, now=context.now())
    audit("account_created", account=made.id, roles=made.roles)
    return made


def _create(
    context: AuthContext, connection: Connection, account_id: UUID, login: str
) -> accounts.Account:
    return accounts.create_account(
        connection, login,
        account_id=account_id, roles=context.newcomer_roles, now=context.now(),
    )  # fmt: skip
