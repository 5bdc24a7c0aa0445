"""`work` and `command`: submit commands, run signers, show results."""

import json
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import click
from sqlalchemy import Engine

from commands.actions import cancel_command, release_command
from commands.arguments import read_arguments, shown_arguments
from commands.submit import Submission
from db.commands.accept import CommandRow, find, history
from db.commands.spelling import transaction_text
from db.commands.states import TERMINAL
from db.declare import Asker
from ops.cli.context import CliState, at_terminal, pass_state
from ops.command_service import open_command_service, working
from ops.commanding import now, open_worker
from ops.errors import OperationError
from ops.rq_notifier import run_worker


@click.command()
@click.option("--queue", is_flag=True, help="Be woken through RQ too; needs [redis].")
@pass_state
def work(state: CliState, queue: bool) -> None:
    """Sign, send and settle commands, and submit reactions' requests, until stopped.

    Any number of these may run: they meet in the database.
    """
    if not state.settings.signers:
        raise OperationError("no signer is configured: write [signers.<name>]")
    redis = state.settings.redis.url
    if queue and redis is None:
        raise OperationError(
            "--queue needs a Redis: write [redis] url, or leave it out"
        )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with state.database() as engine, working(state.settings, engine):
        if queue:
            run_worker(str(redis), stop)
        stop.wait()


@click.group()
def command() -> None:
    """Submit commands, and see their results."""


@command.command(name="submit")
@click.argument("kind")
@click.argument("arguments", nargs=-1)
@click.option("--key", help="Idempotency key; the same key asks for nothing twice.")
@click.option("--valid-seconds", type=int, help="Give up when not mined by then.")
@click.option("--chain", help="The chain it goes to, where it could go to several.")
@click.option("--wait", type=float, default=0.0, help="Seconds to wait for the end.")
@click.option("--raw", is_flag=True, help="Values are as stored: amounts in wei.")
@pass_state
def command_submit(
    state: CliState,
    kind: str,
    arguments: tuple[str, ...],
    key: str | None,
    valid_seconds: int | None,
    chain: str | None,
    wait: float,
    raw: bool,
) -> None:
    """Ask for a command of this KIND, with ARGUMENTS as name=value."""
    known = state.registry.commands
    if kind not in known:
        raise OperationError(f"no command {kind!r}; there is {', '.join(known)}.")
    given: Mapping[str, Any] = _pairs(arguments)
    if not raw:
        given = read_arguments(known[kind].spec, given)
    with state.database() as engine:
        signer = known[kind].spec.signer
        if signer is not None:
            open_worker(state.settings, engine, signer)  # registers it
        until = now() + timedelta(seconds=valid_seconds) if valid_seconds else None
        asked = Submission(
            at_terminal(), key or str(uuid.uuid4()), given, until,
            asker=Asker(frozenset(state.registry.roles.values())), chain=chain,
        )  # fmt: skip
        command_service = open_command_service(state.settings, engine)
        accepted, fresh = command_service.submit(known[kind], asked)
        click.echo(f"{accepted.id} {'accepted' if fresh else 'known already'}")
        if wait:
            ended = _await_end(engine, accepted.id, wait)
            _show(state, engine, ended)
            sys.exit(0 if ended.state == "succeeded" else 1)


@command.command(name="show")
@click.argument("command_id", type=click.UUID)
@pass_state
def command_show(state: CliState, command_id: uuid.UUID) -> None:
    """Show a command and its history."""
    with state.reading() as engine:
        _show(state, engine, _find(engine, command_id))


@command.command(name="cancel")
@click.argument("command_id", type=click.UUID)
@pass_state
def command_cancel(state: CliState, command_id: uuid.UUID) -> None:
    """Cancel a command; it still succeeds if it is mined first."""
    _act(state, command_id, cancel_command)


@command.command(name="release")
@click.argument("command_id", type=click.UUID)
@pass_state
def command_release(state: CliState, command_id: uuid.UUID) -> None:
    """Let a held command wait for its turn again, once its signer would sign it."""
    _act(state, command_id, release_command)


def _act(
    state: CliState, command_id: uuid.UUID, act: Callable[..., CommandRow]
) -> None:
    """Do an action of an operator on a command, and show its state."""
    with state.database() as engine:
        _find(engine, command_id)
        with engine.begin() as connection:
            row = act(
                connection, state.registry, command_id, actor=at_terminal(), now=now()
            )
        click.echo(f"{row.id} {row.state}")


def _pairs(arguments: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for each in arguments:
        name, separator, value = each.partition("=")
        if not separator:
            raise OperationError(f"{each!r} is not name=value")
        pairs[name] = value
    return pairs


def _find(engine: Engine, command_id: uuid.UUID) -> CommandRow:
    with engine.connect() as connection:
        row = find(connection, command_id)
    if row is None:
        raise OperationError(f"no command {command_id}: look at what submit printed")
    return row


def _await_end(engine: Engine, command_id: uuid.UUID, seconds: float) -> CommandRow:
    deadline = time.monotonic() + seconds
    row = _find(engine, command_id)
    while row.state not in TERMINAL and time.monotonic() < deadline:
        time.sleep(0.1)
        row = _find(engine, command_id)
    return row


def _show(state: CliState, engine: Engine, row: CommandRow) -> None:
    arguments = shown_arguments(state.registry.commands, row.kind, row.arguments)
    click.echo(f"{row.kind} {row.id}: {row.state}")
    click.echo(f"  arguments  {json.dumps(arguments)}")
    if row.late_outcome:
        click.echo(f"  its wallet sent it after its end: {row.late_outcome}")
    if row.transaction is not None:
        shown = transaction_text(row.transaction)
        click.echo(f"  transaction {shown}, block {row.height}")
    with engine.connect() as connection:
        events: list[dict[str, Any]] = history(connection, row.id)
    for event in events:
        details = " ".join(f"{k}={v}" for k, v in event["details"].items())
        click.echo(f"  {event['at']:%H:%M:%S.%f} {event['state']:<10} {details}")
