"""Identify the caller, and check what the caller may do.

    principal = current_principal(service)
    require_role(principal, Role.OPERATOR)

A request says who makes it by `Authorization: Bearer <access token>` or `X-API-Key:
<key>`. A key has those of its account's roles that are among its scopes; with the scope
`read` it has all of them, for requests that change nothing.
"""

import uuid
from dataclasses import dataclass

from flask import g, request

from api.auth.secrets import digest, is_api_key
from api.auth.tokens import read_access_token
from api.errors import Problem
from api.service import Service
from db import reads
from db.accounts.accounts import ADDRESS_BYTES
from db.accounts.identities import KeyIdentity, key_identity, session_identity
from db.accounts.keys import key_used
from db.declare import Asker
from db.declare.roles import Role

READ_SCOPE = "read"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOW = (
    "Send Authorization: Bearer <access token> from POST /api/v1/auth/token, or "
    "X-API-Key: <key>."
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks: an account, through a session or through one of its keys.

    `tenant` is the namespace of idempotency keys; it is the account's, however it asks.
    """

    name: str
    account: uuid.UUID | None
    tenant: str
    roles: frozenset[Role]
    wallets: frozenset[bytes]
    session: uuid.UUID | None = None  # None: it asks with a key

    def wallets_of(self, kind: str) -> list[bytes]:
        """Return the wallets of a kind, in order; their length tells it."""
        size = ADDRESS_BYTES[kind]
        return sorted(each for each in self.wallets if len(each) == size)

    @property
    def asker(self) -> Asker:
        """The principal as rules see it."""
        account = "" if self.account is None else str(self.account)
        return Asker(self.roles, self.wallets, account)


def current_principal(service: Service) -> Principal:
    """Return who makes this request; raises the Problem `not_signed_in`."""
    found: Principal | None = g.get("principal")
    if found is None:
        found = _find(service)
        g.principal = found
    return found


def require_role(principal: Principal, *roles: Role) -> None:
    """Raise the Problem `not_allowed` unless the principal has one of the roles."""
    if not principal.roles.isdisjoint(roles):
        return
    may = sorted(roles)
    raise Problem(
        "not_allowed",
        f"This needs the role {' or '.join(may)}, which {principal.name} does not "
        "have here. Ask an operator for it, or use a key with this scope.",
        roles=may,
    )


def require_session(principal: Principal) -> uuid.UUID:
    """The principal's session; raises `not_allowed` when it asks with a key.

    Keys, wallets and accounts are managed by people: a key that leaked must not be able
    to make others.
    """
    if principal.session is None:
        raise Problem(
            "not_allowed", "A key may not do this. Sign in and use an access token."
        )
    return principal.session


def _find(service: Service) -> Principal:
    key = request.headers.get("X-API-Key")
    bearer = request.headers.get("Authorization")
    if service.auth is None:
        raise Problem("not_signed_in", "This API was started without accounts.")
    if key is not None and bearer is not None:
        raise Problem(
            "not_signed_in", "There are two credentials. Send one of them, not both."
        )
    if key is not None:
        return _by_key(service, key)
    if bearer is not None:
        return _by_token(service, bearer)
    raise Problem("not_signed_in", f"This needs to know who asks. {_HOW}")


def _by_token(service: Service, header: str) -> Principal:
    kind, _, token = header.partition(" ")
    claims = read_access_token(token.strip()) if kind.lower() == "bearer" else None
    if claims is None or service.auth is None:
        raise Problem(
            "not_signed_in",
            "The access token is not one of ours, or has expired. Get another with "
            "POST /api/v1/auth/token/refresh, or sign in again.",
        )
    account, session = claims
    now = service.auth.clock()
    found = reads.read(
        service.engine,
        lambda connection: session_identity(
            connection, session, account_id=account, now=now
        ),
    )
    if found is None:
        raise Problem("not_signed_in", "The session has ended. Sign in again.")
    name = f"account:{account}"
    return Principal(name, account, name, found.roles, found.wallets, session)


def _by_key(service: Service, key: str) -> Principal:
    found: KeyIdentity | None = None
    if is_api_key(key) and service.auth is not None:
        now = service.auth.clock()
        found = reads.read(
            service.engine,
            lambda connection: key_identity(connection, digest(key), now=now),
        )
    if found is None:
        raise Problem(
            "not_signed_in",
            "The key is not known, has expired or was revoked. Make another with "
            "POST /api/v1/auth/keys.",
        )
    if not found.used and service.writer is not None:
        with service.writer.begin() as connection:
            key_used(connection, found.key, now)
    return Principal(
        name=f"key:{found.prefix}",
        account=found.account,
        tenant=f"account:{found.account}",
        roles=_roles_through(found),
        wallets=found.wallets,
    )


def _roles_through(found: KeyIdentity) -> frozenset[Role]:
    if READ_SCOPE in found.scopes and request.method in SAFE_METHODS:
        return found.roles
    allowed = frozenset(role for role in found.roles if role in found.scopes)
    if not allowed and request.method not in SAFE_METHODS:
        raise Problem(
            "not_allowed",
            "This key may only read. Use one whose scopes hold a role of its account.",
        )
    return allowed
