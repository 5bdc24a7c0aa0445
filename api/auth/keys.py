"""Routes of API keys: accounts create, list and revoke their own."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from msgspec import Meta

from api.auth import secrets
from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.principal import READ_SCOPE, Principal, require_session
from api.auth.routes import (
    IN_SESSION,
    Body,
    Schema,
    add_route,
    read_body,
    shape,
    text_parameter,
)
from api.errors import Problem
from api.json_answers import MOMENT, MOMENT_OR_NULL, json_answer, moment
from commands.submit import new_id
from db.accounts import keys

DAYS = 90
DAYS_MAX = 365
KEYS_MAX = 50  # of use, for one account

_KEY_FIELDS: dict[str, str | Schema] = {
    "prefix": "string",
    "name": "string",
    "scopes": {"type": "array", "items": {"type": "string"}},
    "created_at": MOMENT,
    "expires_at": MOMENT,
    "last_used_at": MOMENT_OR_NULL,
    "revoked_at": MOMENT_OR_NULL,
}
KEY = shape(**_KEY_FIELDS)
NEW_KEY = shape(**_KEY_FIELDS, key="string")
KEYS = shape(data={"type": "array", "items": KEY})


class NewKey(Body, frozen=True):
    """A key's name, scopes and lifetime in days."""

    name: Annotated[str, Meta(pattern="^[^\\x00-\\x1f]{1,100}$")]
    scopes: Annotated[list[str], Meta(min_length=1, max_length=10)]
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = DAYS


BODIES = (NewKey,)


def add_keys(blueprint: Blueprint, context: AuthContext) -> None:
    """`keys`."""

    def create_key() -> Response:
        """Create a key. Its secret is shown once; only a digest is stored.

        Its scopes are roles of the account, or `read`: all of them, for requests that
        change nothing.
        """
        context.principal()
        return json_answer(_create(context, read_body(NewKey)), 201)

    def list_keys() -> Response:
        """Lists the account's keys, those of no use any more too."""
        return json_answer({"data": _list(context)})

    def revoke_key(prefix: str) -> Response:
        """Ends a key."""
        _revoke(context, prefix)
        return json_answer(None, 204)

    add_route(
        blueprint, "/keys", create_key, summary="Make an API key", body=NewKey,
        returns=NEW_KEY, status=201, security=IN_SESSION,
    )  # fmt: skip
    add_route(
        blueprint, "/keys", list_keys, method="GET", summary="My API keys",
        returns=KEYS, security=IN_SESSION,
    )  # fmt: skip
    add_route(
        blueprint, "/keys/<prefix>", revoke_key, method="DELETE",
        summary="End an API key", status=204, security=IN_SESSION,
        path=[text_parameter("prefix", "As the list of keys has it.")],
    )  # fmt: skip


def shown_key(key: keys.ApiKey) -> dict[str, object]:
    """Return the parts of a key that people may see."""
    used, revoked = key.last_used_at, key.revoked_at
    return {
        "prefix": key.prefix,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "last_used_at": None if used is None else moment(used),
        "revoked_at": None if revoked is None else moment(revoked),
    }


def _account(context: AuthContext) -> tuple[Principal, UUID]:
    principal = context.principal()
    require_session(principal)
    assert principal.account is not None
    return principal, principal.account


def _create(context: AuthContext, body: NewKey) -> dict[str, object]:
    principal, account = _account(context)
    scopes = frozenset(body.scopes)
    known = {READ_SCOPE, *principal.roles}
    if not scopes <= known:
        raise Problem(
            "not_allowed",
            f"A key has what its account has: {', '.join(sorted(known))}.",
            choices=sorted(known),
        )
    key, prefix = secrets.new_api_key()
    now = context.now()
    with context.begin() as connection:
        if keys.count_usable(connection, account, now=now) >= KEYS_MAX:
            raise Problem(
                "not_allowed",
                f"The account has {KEYS_MAX} keys. Revoke one that is not needed.",
            )
        made = keys.create_key(
            connection, account, secrets.digest(key), key_id=new_id(), name=body.name,
            prefix=prefix, scopes=scopes, now=now,
            expires_at=now + timedelta(days=body.days),
        )  # fmt: skip
    audit("key_created", principal=principal, key=prefix, scopes=scopes)
    return {**shown_key(made), "key": key}


def _list(context: AuthContext) -> list[dict[str, object]]:
    _, account = _account(context)
    with context.begin() as connection:
        return [shown_key(key) for key in keys.list_keys(connection, account)]


def _revoke(context: AuthContext, prefix: str) -> None:
    principal, account = _account(context)
    with context.begin() as connection:
        found = keys.revoke_key(
            connection, account_id=account, prefix=prefix, now=context.now()
        )
    if found is None:
        raise Problem(
            "no_such_row", "The account has no such key. Look at its list of keys."
        )
    audit("key_revoked", principal=principal, key=prefix)
