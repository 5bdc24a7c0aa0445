"""`account`: create the first operator, and administer accounts without the API."""

import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection

from api.auth import secrets
from api.auth.keys import DAYS, DAYS_MAX
from api.auth.passwords import hash_password
from api.auth.principal import READ_SCOPE
from api.auth.sign_in import check_login
from api.errors import Problem
from commands.submit import new_id
from db.accounts import accounts, keys
from db.accounts.sessions import revoke_sessions
from db.declare.roles import Role
from db.journal.append import append
from db.journal.audit.entries import SecurityEvent
from ops.cli.context import CliState, at_terminal, pass_state
from ops.commanding import now
from ops.errors import OperationError


@click.group()
def account() -> None:
    """Make and change accounts: who may sign in, and as what."""


@account.command(name="create")
@click.option("--email", "login", required=True, help="E-mail address or name.")
@click.option("--role", "roles", multiple=True, required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--no-password", is_flag=True, help="For a program that uses keys.")
@pass_state
def account_create(
    state: CliState,
    login: str,
    roles: tuple[str, ...],
    password_stdin: bool,
    no_password: bool,
) -> None:
    """Open an account; the first operator is made so."""
    hashed, given = None, _roles(state, roles)
    try:
        check_login(login)
        if not no_password:
            hashed = hash_password(_password(stdin=password_stdin))
    except Problem as problem:
        raise OperationError(problem.detail) from None
    with state.database() as engine, engine.begin() as connection:
        made = accounts.create_account(
            connection, login, account_id=new_id(), now=now(), password_hash=hashed,
            roles=given,
        )  # fmt: skip
        _note(state, connection, "account_created", made.id, roles=sorted(made.roles))
    click.echo(f"{made.id} {login}: {', '.join(sorted(made.roles))}")


@account.command(name="list")
@pass_state
def account_list(state: CliState) -> None:
    """List every account."""
    after = None
    with state.reading() as engine, engine.connect() as connection:
        while found := accounts.list_accounts(connection, after=after):
            for each in found:
                roles = ",".join(sorted(each.roles)) or "-"
                since = each.disabled_at
                note = "" if since is None else f"  disabled since {since:%Y-%m-%d}"
                click.echo(f"{each.id}  {each.login}  {roles}{note}")
            after = found[-1].id


@account.command(name="set-roles")
@click.argument("login")
@click.argument("roles", nargs=-1)
@pass_state
def account_set_roles(state: CliState, login: str, roles: tuple[str, ...]) -> None:
    """Give an account these ROLES and no others, from its next request on."""
    given = _roles(state, roles)
    with state.database() as engine, engine.begin() as connection:
        found = _find(connection, login)
        made = accounts.set_roles(connection, found.id, given)
        _note(state, connection, "roles_set", made.id, roles=sorted(made.roles))
    click.echo(f"{made.login}: {', '.join(sorted(made.roles)) or 'no role'}")


@account.command(name="set-password")
@click.argument("login")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@pass_state
def account_set_password(state: CliState, login: str, password_stdin: bool) -> None:
    """Set a new password; ends the account's sessions."""
    try:
        hashed = hash_password(_password(stdin=password_stdin))
    except Problem as problem:
        raise OperationError(problem.detail) from None
    with state.database() as engine, engine.begin() as connection:
        found = _find(connection, login)
        accounts.set_password(connection, found.id, hashed)
        revoke_sessions(
            connection, found.id, now=now(), reason="password set by an operator"
        )
        _note(state, connection, "password_set", found.id)
    click.echo(f"{found.login}: password set")


@account.command(name="disable")
@click.argument("login")
@pass_state
def account_disable(state: CliState, login: str) -> None:
    """Shut an account out at once; its sessions end, its keys sleep."""
    _set_disabled(state, login, disabled=True)


@account.command(name="enable")
@click.argument("login")
@pass_state
def account_enable(state: CliState, login: str) -> None:
    """Let an account in again."""
    _set_disabled(state, login, disabled=False)


@account.group(name="key")
def account_key() -> None:
    """Keys for programs, which act for an account."""


@account_key.command(name="create")
@click.argument("login")
@click.option("--name", required=True, help="What to know it by.")
@click.option("--scope", "scopes", multiple=True, required=True)
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), default=DAYS, show_default=True
)
@pass_state
def account_key_create(
    state: CliState, login: str, name: str, scopes: tuple[str, ...], days: int
) -> None:
    """Make a key and print it, this once."""
    _roles(state, [scope for scope in scopes if scope != READ_SCOPE])
    key, prefix = secrets.new_api_key()
    with state.database() as engine, engine.begin() as connection:
        found = _find(connection, login)
        lacking = {*scopes} - {READ_SCOPE, *found.roles}
        if lacking:
            raise OperationError(
                f"{login} is not {', '.join(sorted(lacking))}: give it the role first"
            )
        keys.create_key(
            connection, found.id, secrets.digest(key), key_id=new_id(), name=name,
            prefix=prefix, scopes={*scopes}, now=now(),
            expires_at=now() + timedelta(days=days),
        )  # fmt: skip
        _note(
            state, connection, "key_created", found.id, key=prefix,
            scopes=sorted(scopes),
        )  # fmt: skip
    click.echo(key)


@account_key.command(name="list")
@click.argument("login")
@pass_state
def account_key_list(state: CliState, login: str) -> None:
    """List an account's keys by their prefixes."""
    with state.reading() as engine, engine.connect() as connection:
        for key in keys.list_keys(connection, _find(connection, login).id):
            note = "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d}"
            scopes = ",".join(sorted(key.scopes))
            click.echo(f"{key.prefix}  {key.name}  {scopes}  {note}")


@account_key.command(name="revoke")
@click.argument("prefix")
@pass_state
def account_key_revoke(state: CliState, prefix: str) -> None:
    """End the key with this PREFIX, whosever it is."""
    with state.database() as engine, engine.begin() as connection:
        found = keys.revoke_key(connection, account_id=None, prefix=prefix, now=now())
        if found is None:
            raise OperationError(f"no key {prefix}: look at `account key list`")
        _note(state, connection, "key_revoked", found.account, key=prefix)
    click.echo(f"{prefix} revoked")


def _roles(state: CliState, names: Iterable[str]) -> set[Role]:
    """The declared roles of these names; raises OperationError for one unknown."""
    declared = state.registry.roles
    unknown = sorted({*names} - declared.keys())
    if unknown:
        raise OperationError(
            f"no domain declares the role {', '.join(unknown)}: use "
            f"{', '.join(declared)}"
        )
    return {declared[name] for name in names}


def _set_disabled(state: CliState, login: str, *, disabled: bool) -> None:
    with state.database() as engine, engine.begin() as connection:
        found = _find(connection, login)
        accounts.set_disabled(connection, found.id, disabled=disabled, now=now())
        kind = "account_disabled" if disabled else "account_enabled"
        _note(state, connection, kind, found.id)
    click.echo(f"{login}: {'disabled' if disabled else 'enabled'}")


def _note(
    state: CliState, connection: Connection, kind: str, account_id: UUID, **details: Any
) -> None:
    """Record the action in the journal, in the same transaction."""
    entry = SecurityEvent(kind=kind, account=str(account_id), details=details)
    append(connection, state.registry, entry, actor=at_terminal(), now=now())


def _find(connection: Connection, login: str) -> accounts.Account:
    found = accounts.find_login(connection, login)
    if found is None:
        raise OperationError(f"no account {login!r}: look at `account list`")
    return found


def _password(*, stdin: bool) -> str:
    """The password, from stdin or asked for twice; never from the command line."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise OperationError("nobody can be asked for the password: --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
