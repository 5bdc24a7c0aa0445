"""Sessions of the console: a cookie, and forms with anti-forgery tokens.

The cookie is HttpOnly and SameSite=Strict and only good for `/console`. A form holds a
token that follows from the cookie, and must come from a page of this same origin, as
must the form that signs in, which has no cookie yet.
"""

import hmac
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from flask import Response, g, request

from api.auth import secrets
from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.principal import Principal
from api.auth.sign_in import prove_password
from api.errors import Problem
from commands.submit import new_id
from db.accounts import sessions
from db.accounts.identities import cookie_identity
from db.declare.roles import Role

COOKIE = "chainfold_console"
PATH = "/console"
LIFETIME = timedelta(hours=12)
STAFF = (Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody signed in to the console, and the token of their forms."""

    principal: Principal
    login: str
    form_token: str

    @property
    def operates(self) -> bool:
        """Whether they may do more than look."""
        return Role.OPERATOR in self.principal.roles


class NotSignedIn(Exception):
    """Nobody is signed in here: show the page that does it."""


def visitor(context: AuthContext) -> Visitor:
    """Return who looks at the page; raises NotSignedIn."""
    found: Visitor | None = g.get("visitor")
    if found is None:
        found = g.visitor = _find(context)
    return found


def sign_in(context: AuthContext, login: str, password: str) -> str:
    """Open a session for a member of staff; returns the cookie's value."""
    account = prove_password(context, login, password)
    if account.disabled_at is not None or account.roles.isdisjoint(STAFF):
        audit("sign_in_refused", account=account.id, method="console", reason="role")
        raise Problem(
            "not_allowed",
            "The console is for operators, compliance officers and auditors. Ask an "
            "operator for the role.",
        )
    cookie, session, now = secrets.new_cookie(), new_id(), context.now()
    with context.begin() as connection:
        sessions.open_session(
            connection, account.id, session_id=session, method=sessions.CONSOLE,
            now=now, expires_at=now + LIFETIME,
        )  # fmt: skip
        sessions.add_token(
            connection, session, secrets.digest(cookie), now=now,
            expires_at=now + LIFETIME,
        )  # fmt: skip
    audit("signed_in", account=account.id, method="console", session=session)
    return cookie


def sign_out(context: AuthContext) -> None:
    """End the visitor's session."""
    found = visitor(context)
    assert found.principal.session is not None
    with context.begin() as connection:
        sessions.revoke_session(
            connection, found.principal.session, now=context.now(), reason="signed out"
        )
    audit("signed_out", principal=found.principal)


def set_cookie(response: Response, cookie: str, *, secure: bool) -> None:
    """Give the browser its cookie."""
    response.set_cookie(
        COOKIE, cookie, max_age=LIFETIME, path=PATH, secure=secure, httponly=True,
        samesite="Strict",
    )  # fmt: skip


def check_origin() -> None:
    """Raise `not_allowed` unless the form's origin is this site."""
    origin = request.headers.get("Origin", "")
    if urlsplit(origin).netloc != request.host or not origin:
        raise Problem(
            "not_allowed", "The form is not from a page of this site. Open it here."
        )


def check_form(context: AuthContext) -> Visitor:
    """Return the visitor who sent a form; raises NotSignedIn or `not_allowed`."""
    found = visitor(context)
    check_origin()
    given = request.form.get("form_token", "")
    if not hmac.compare_digest(given.encode(), found.form_token.encode()):
        raise Problem(
            "not_allowed", "The form is of another session. Open the page again."
        )
    return found


def _find(context: AuthContext) -> Visitor:
    cookie = request.cookies.get(COOKIE, "")
    if not secrets.is_cookie(cookie):
        raise NotSignedIn
    with context.begin() as connection:
        found = cookie_identity(connection, secrets.digest(cookie), now=context.now())
    if found is None or found.roles.isdisjoint(STAFF):
        raise NotSignedIn
    name = f"account:{found.account}"
    return Visitor(
        principal=Principal(
            name, found.account, name, found.roles, found.wallets, found.session
        ),
        login=found.login,
        form_token=secrets.form_token(cookie, context.options.secret),
    )
