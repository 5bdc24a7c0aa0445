"""Routes for operators: list accounts, set their roles, disable and enable them."""

from typing import Annotated
from uuid import UUID

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from msgspec import Meta

from api.auth.audit import audit
from api.auth.context import AuthContext
from api.auth.principal import Principal, require_role, require_session
from api.auth.routes import (
    IN_SESSION,
    SIGNED_IN,
    Body,
    add_route,
    read_body,
    shape,
    text_parameter,
)
from api.errors import Problem
from api.json_answers import MOMENT, MOMENT_OR_NULL, json_answer, moment
from db.accounts import accounts
from db.declare.roles import Role

ACCOUNT = shape(
    account={"type": "string", "format": "uuid"},
    login="string",
    roles={"type": "array", "items": {"type": "string"}},
    created_at=MOMENT,
    disabled_at=MOMENT_OR_NULL,
)
ACCOUNTS = shape(
    data={"type": "array", "items": ACCOUNT}, next={"type": ["string", "null"]}
)


class Roles(Body, frozen=True):
    """All the roles that an account shall have."""

    roles: Annotated[list[str], Meta(max_length=50)]


BODIES = (Roles,)
_AFTER = [
    {**text_parameter("after", "`next` of the page before."), "in": "query",
     "required": False},
]  # fmt: skip
_PATH = [text_parameter("account", "The account's id.")]


def add_administration(blueprint: Blueprint, context: AuthContext) -> None:
    """`accounts`."""

    def list_accounts() -> Response:
        """Lists accounts, the oldest first; `after` takes `next` of the page before."""
        return json_answer(_list(context))

    def set_account_roles(account: str) -> Response:
        """Gives an account these roles and no others, from the next request on."""
        context.principal()
        return json_answer(_set_roles(context, account, read_body(Roles)))

    def disable_account(account: str) -> Response:
        """Shuts an account out at once, and ends its sessions; keys sleep."""
        return json_answer(_set_disabled(context, account, disabled=True))

    def enable_account(account: str) -> Response:
        """Lets an account in again; it must sign in, its keys wake."""
        return json_answer(_set_disabled(context, account, disabled=False))

    add_route(
        blueprint, "/accounts", list_accounts, method="GET", summary="Every account",
        returns=ACCOUNTS, security=SIGNED_IN, path=_AFTER,
    )  # fmt: skip
    add_route(
        blueprint, "/accounts/<account>/roles", set_account_roles, method="PUT",
        summary="Give roles", body=Roles, returns=ACCOUNT, security=IN_SESSION,
        path=_PATH,
    )  # fmt: skip
    add_route(
        blueprint, "/accounts/<account>/disable", disable_account,
        summary="Shut an account out", returns=ACCOUNT, security=IN_SESSION, path=_PATH,
    )  # fmt: skip
    add_route(
        blueprint, "/accounts/<account>/enable", enable_account,
        summary="Let an account in", returns=ACCOUNT, security=IN_SESSION, path=_PATH,
    )  # fmt: skip


def _list(context: AuthContext) -> dict[str, object]:
    require_role(context.principal(), Role.OPERATOR, Role.AUDITOR)
    if set(request.args) - {"after"}:
        raise Problem("unknown_parameter", "Only `after` is known here.")
    text = request.args.get("after")
    after = None if text is None else _id(text)
    with context.begin() as connection:
        found = accounts.list_accounts(connection, after=after)
    full = len(found) == accounts.PAGE
    return {
        "data": [_shown(account) for account in found],
        "next": str(found[-1].id) if full else None,
    }


def _set_roles(context: AuthContext, account: str, body: Roles) -> dict[str, object]:
    principal, account_id = _operator_of_another(context, account)
    declared = context.service.registry.roles
    unknown = sorted({*body.roles} - declared.keys())
    if unknown:
        raise Problem(
            "bad_body",
            f"roles: there is no {', '.join(unknown)}. Choose of "
            f"{', '.join(declared)}.",
        )
    roles = {declared[role] for role in body.roles}
    with context.begin() as connection:
        try:
            changed = accounts.set_roles(connection, account_id, roles)
        except accounts.NoSuchAccount as error:
            raise Problem("no_such_row", f"Not done: {error}") from None
    audit("roles_set", principal=principal, account=account_id, roles=changed.roles)
    return _shown(changed)


def _set_disabled(
    context: AuthContext, account: str, *, disabled: bool
) -> dict[str, object]:
    principal, account_id = _operator_of_another(context, account)
    with context.begin() as connection:
        try:
            changed = accounts.set_disabled(
                connection, account_id, disabled=disabled, now=context.now()
            )
        except accounts.NoSuchAccount as error:
            raise Problem("no_such_row", f"Not done: {error}") from None
    kind = "account_disabled" if disabled else "account_enabled"
    audit(kind, principal=principal, account=account_id)
    return _shown(changed)


def _operator_of_another(context: AuthContext, account: str) -> tuple[Principal, UUID]:
    """Return the operator who changes another account; refuses changes to their own."""
    principal = context.principal()
    require_session(principal)
    require_role(principal, Role.OPERATOR)
    account_id = _id(account)
    if account_id == principal.account:
        raise Problem(
            "not_allowed", "Nobody changes their own account. Ask another operator."
        )
    return principal, account_id


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(
            "bad_parameter", "An account's id is a UUID. Look at the list of accounts."
        ) from None


def _shown(account: accounts.Account) -> dict[str, object]:
    at = account.disabled_at
    return {
        "account": str(account.id),
        "login": account.login,
        "roles": sorted(account.roles),
        "created_at": moment(account.created_at),
        "disabled_at": None if at is None else moment(at),
    }
