"""Routes of sign-in by password, and of the tokens that follow from any sign-in."""

import re
from typing import Annotated

from flask import Response
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from msgspec import Meta

from api.auth import secrets
from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.opening import (
    TOKENS,
    AttemptCounter,
    open_session,
    refuse_sign_in,
    tokens,
)
from api.auth.passwords import (
    LENGTH_MAX,
    hash_password,
    outdated,
    password_fits,
    rehash,
)
from api.auth.principal import require_session
from api.auth.routes import (
    IN_SESSION,
    SIGNED_IN,
    Body,
    add_route,
    read_body,
    shape,
)
from api.errors import Problem
from api.json_answers import json_answer
from commands.submit import new_id
from db.accounts import accounts, sessions
from db.commands.spelling import address_text

_LOGIN = re.compile(r"(?=.{3})[a-zA-Z0-9._%+-]{1,64}(@[a-zA-Z0-9.-]{1,189})?")

Login = Annotated[str, Meta(min_length=1, max_length=254)]
Password = Annotated[str, Meta(min_length=1, max_length=LENGTH_MAX)]


class Registration(Body, frozen=True):
    """A new account: an e-mail address or a name, a password, and a role."""

    login: Login
    password: Password
    role: str | None = None


class SignIn(Body, frozen=True):
    """An account's login and its password."""

    login: Login
    password: Password


class Refresh(Body, frozen=True):
    """The refresh token that came last."""

    refresh_token: Annotated[str, Meta(max_length=200)]


class PasswordChange(Body, frozen=True):
    """The current and the new password."""

    password: Password
    new_password: Password


BODIES = (Registration, SignIn, Refresh, PasswordChange)
ME = shape(
    account={"type": "string", "format": "uuid"},
    login="string",
    roles={"type": "array", "items": {"type": "string"}},
    wallets={"type": "array", "items": {"type": "string"}},
)


def add_sign_in(blueprint: Blueprint, context: AuthContext) -> None:
    """`register`, `token`, `token/refresh`."""

    def register() -> Response:
        """Opens an account, with a role that is open to everybody, or none."""
        return json_answer(_register(context, read_body(Registration)), 201)

    def sign_in() -> Response:
        """Answers with a short access token, and a refresh token to be used once."""
        return json_answer(_sign_in(context, read_body(SignIn)))

    def refresh() -> Response:
        """Exchanges a refresh token for the next one.

        The same token may be sent again within ten seconds, until its successor is
        used. Used later than that, it ends the session: somebody else has it too.
        """
        return json_answer(_refresh(context, read_body(Refresh)))

    add_route(
        blueprint, "/register", register, summary="Open an account",
        body=Registration, returns=TOKENS, status=201,
    )  # fmt: skip
    add_route(
        blueprint, "/token", sign_in, summary="Sign in", body=SignIn, returns=TOKENS
    )
    add_route(
        blueprint, "/token/refresh", refresh, summary="Go on being signed in",
        body=Refresh, returns=TOKENS,
    )  # fmt: skip


def add_session(blueprint: Blueprint, context: AuthContext) -> None:
    """`logout`, `password`, `me`."""

    def sign_out() -> Response:
        """Ends the session: neither of its tokens is of use any more."""
        _sign_out(context)
        return json_answer(None, 204)

    def change_password() -> Response:
        """Sets another password, and ends every other session of the account."""
        context.principal()
        _change_password(context, read_body(PasswordChange))
        return json_answer(None, 204)

    def show_me() -> Response:
        """Tells who the API takes the client for."""
        return json_answer(_me(context))

    add_route(
        blueprint, "/logout", sign_out, summary="Sign out", status=204,
        security=IN_SESSION,
    )  # fmt: skip
    add_route(
        blueprint, "/password", change_password, summary="Change the password",
        body=PasswordChange, status=204, security=IN_SESSION,
    )  # fmt: skip
    add_route(
        blueprint, "/me", show_me, method="GET", summary="Who am I", returns=ME,
        security=SIGNED_IN,
    )  # fmt: skip


def check_login(login: str) -> str:
    """The login, if an account may be opened with it."""
    if _LOGIN.fullmatch(login) is None:
        raise Problem(
            "bad_body",
            "The login is neither an e-mail address nor a name: use letters, digits "
            "and . _ % + -, three at least.",
        )
    return login


def _register(context: AuthContext, body: Registration) -> dict[str, object]:
    if not context.options.registration:
        raise Problem(
            "registration_closed",
            "Accounts are not opened here. Ask an operator for one.",
        )
    roles = context.newcomer_roles if body.role is None else [body.role]
    declared = context.service.registry.roles
    if any(role not in declared for role in roles):
        raise Problem(
            "bad_body", f"role: there is no {body.role}, but {', '.join(declared)}."
        )
    if not all(declared[role].self_service for role in roles):
        choices = [name for name, role in declared.items() if role.self_service]
        raise Problem(
            "not_allowed",
            f"The role {body.role} is given by operators only. Open an account as "
            f"{' or '.join(choices) or 'nobody yet'} and ask an operator.",
        )
    login, hashed = check_login(body.login), hash_password(body.password)
    with context.begin() as connection:
        try:
            made = accounts.create_account(
                connection, login, account_id=new_id(),
                roles=[declared[role] for role in roles],
                now=context.now(), password_hash=hashed,
            )  # fmt: skip
        except accounts.LoginTaken as error:
            raise Problem("login_taken", f"This login is taken: {error}") from None
        audit("account_created", account=made.id, roles=made.roles)
        return open_session(context, connection, made, "password")


def prove_password(context: AuthContext, login: str, password: str) -> accounts.Account:
    """The account that has this login and password; raises `bad_sign_in`."""
    counted, found = AttemptCounter(context, login), None
    # What no account can be opened with need not be looked for, nor could it always be:
    # Postgres has no text with a zero byte.
    if _LOGIN.fullmatch(login):
        with context.begin() as connection:
            found = accounts.find_login(connection, login)
    stored = None if found is None else found.password_hash
    # No connection is held while the password is looked at, which takes a while.
    if not password_fits(password, stored) or found is None or stored is None:
        refuse_sign_in(
            context, "password",
            "No account has this login and this password. Check both.",
            account=None if found is None else found.id, reason="wrong password",
        )  # fmt: skip
    with context.begin() as connection:
        counted.succeeded(connection)
        if outdated(stored):
            accounts.set_password(connection, found.id, rehash(password))
    return found


def _sign_in(context: AuthContext, body: SignIn) -> dict[str, object]:
    found = prove_password(context, body.login, body.password)
    with context.begin() as connection:
        return open_session(context, connection, found, "password")


def _refresh(context: AuthContext, body: Refresh) -> dict[str, object]:
    shown = body.refresh_token
    if not secrets.is_refresh_token(shown):
        refuse_sign_in(context, "refresh", _ENDED, reason="no refresh token")
    successor = secrets.next_refresh_token(shown, context.options.secret)
    with context.begin() as connection:
        found = sessions.rotate(
            connection, secrets.digest(shown), secrets.digest(successor),
            now=context.now(), lifetime=context.options.refresh_lifetime,
        )  # fmt: skip
    account, session, until = found.account, found.session, found.expires_at
    if account is None or session is None or until is None:
        if found.outcome is sessions.Rotation.REUSED:
            audit("refresh_token_reused", account=account, session=session)
        refuse_sign_in(
            context, "refresh", _ENDED, account=account, reason=found.outcome.value
        )
    audit(f"token_{found.outcome.value}", account=account, session=session)
    return tokens(context, account, session, refresh_token=successor, until=until)


_ENDED = (
    "The refresh token is invalid, expired or already used, or its session has "
    "ended. Sign in again."
)


def _sign_out(context: AuthContext) -> None:
    principal = context.principal()
    session = require_session(principal)
    with context.begin() as connection:
        sessions.revoke_session(
            connection, session, now=context.now(), reason="signed out"
        )
    audit("signed_out", principal=principal)


def _change_password(context: AuthContext, body: PasswordChange) -> None:
    principal = context.principal()
    session = require_session(principal)
    assert principal.account is not None
    with context.begin() as connection:
        found = accounts.find_account(connection, principal.account)
    assert found is not None
    counted = AttemptCounter(context, found.login)
    if not password_fits(body.password, found.password_hash):
        refuse_sign_in(
            context, "password", "That is not the password. Check it.",
            account=found.id, reason="wrong password",
        )  # fmt: skip
    hashed = hash_password(body.new_password)
    with context.begin() as connection:
        counted.succeeded(connection)
        accounts.set_password(connection, found.id, hashed)
        sessions.revoke_sessions(
            connection, found.id, now=context.now(), reason="password changed",
            but=session,
        )  # fmt: skip
    audit("password_changed", principal=principal)


def _me(context: AuthContext) -> dict[str, object]:
    principal = context.principal()
    assert principal.account is not None
    with context.begin() as connection:
        found = accounts.find_account(connection, principal.account)
    assert found is not None
    return {
        "account": str(found.id),
        "login": found.login,
        "roles": sorted(principal.roles),
        "wallets": sorted(map(address_text, principal.wallets)),
    }
