"""`sign`: the signing process, its kill switch, and the state of signers."""

import signal
import sys
import threading
from typing import Any

import click
from sqlalchemy import Connection

from commands import actions
from commands.evm.nonces import sign_from
from commands.evm.signing import served as evm
from commands.signing.server import open_server
from commands.solana import served as solana
from db.commands.health import signer_health
from db.commands.signers import find_signer
from db.commands.stops import stopped
from db.incidents import list_incidents
from ops.chains.evm import evm_chain_number
from ops.chains.solana.commanding import open_keys as open_solana_keys
from ops.cli.context import CliState, at_terminal, pass_state
from ops.commanding import now
from ops.errors import OperationError
from ops.signing import chain_of, open_key, open_keys


@click.group()
def sign() -> None:
    """Keep keys in a process of their own; stop and resume signers."""


@sign.command(name="serve")
@click.option(
    "--listen",
    help="unix:/path/to/sign.sock or 127.0.0.1:9000.  [default: unix:<data_dir>"
    "/sign.sock]",
)
@pass_state
def sign_serve(state: CliState, listen: str | None) -> None:
    """Run the signing process: sign what the rules allow, until stopped.

    Signatures are recorded in the database of this process's settings, best one
    of its own: then it outlives a restored backup of the other.
    """
    where = listen or f"unix:{state.settings.data_dir / 'sign.sock'}"
    with state.database() as engine:
        keys = open_keys(state.settings, engine, state.registry, now)
        of_solana = open_solana_keys(state.settings, engine, state.registry, now)
        if not keys and not of_solana:
            raise OperationError(
                "no signer has its key here: write [signers.<name>] with kind = "
                '"keystore" or "env"'
            )
        server = open_server(where, {**evm.methods(keys), **solana.methods(of_solana)})
        for number in (signal.SIGINT, signal.SIGTERM):
            # From another thread: shutdown waits for the loop that this one runs.
            signal.signal(
                number, lambda *_: threading.Thread(target=server.shutdown).start()
            )
        click.echo(f"signing for {len(keys) + len(of_solana)} accounts at {where}")
        with server:
            server.serve_forever()


@sign.command(name="stop")
@click.argument("signer", required=False)
@click.option("--reason", default="stopped by hand", show_default=True)
@pass_state
def sign_stop(state: CliState, signer: str | None, reason: str) -> None:
    """Stop signing for SIGNER, or for all: the kill switch."""
    _known(state, signer)
    with state.database() as engine, engine.begin() as connection:
        actions.stop_signing(
            connection, state.registry, signer, reason, actor=at_terminal(), now=now()
        )
    click.echo(f"{signer or 'every signer'} is stopped")


@sign.command(name="resume")
@click.argument("signer", required=False)
@click.option(
    "--nonce",
    type=click.IntRange(min=0),
    help="Sign from this nonce on, although the last known to be used is far below it.",
)
@pass_state
def sign_resume(state: CliState, signer: str | None, nonce: int | None) -> None:
    """Resume SIGNER, or all: after a stop, or after it halted.

    Exit code 1 and a message if a signer is still blocked: by an incident of its chain,
    a stop of every signer, or a hold.
    """
    _known(state, signer)
    if nonce is not None and signer is None:
        raise OperationError("--nonce is one signer's: say which")
    if signer is None and not state.settings.signers:
        raise OperationError("no signer is configured: write [signers.<name>]")
    names = [signer] if signer else list(state.settings.signers)
    by: Any = {"actor": at_terminal(), "now": now()}
    with state.database() as engine:
        if signer is not None and nonce is not None:
            chain = evm_chain_number(
                chain_of(state.settings, state.settings.signers[signer])
            )
            address = open_key(state.settings.signers[signer]).address
            with engine.begin() as connection:
                sign_from(
                    connection, state.registry, signer, chain, address, nonce, **by
                )
        with engine.begin() as connection:
            actions.allow_signing(connection, state.registry, signer, **by)
        for name in names:
            with engine.begin() as connection:
                found = find_signer(connection, name)
                if found is not None and not list_incidents(
                    connection, source=found.source
                ):
                    actions.resume_signer(connection, state.registry, name, **by)
        with engine.connect() as connection:
            ways = {name: _in_the_way(connection, name) for name in names}
    for name, way in ways.items():
        click.echo(f"{name} does not go on: {way}" if way else f"{name} goes on")
    sys.exit(1 if any(ways.values()) else 0)


def _in_the_way(connection: Connection, name: str) -> str:
    """Return what blocks a signer, with the remedy; empty: nothing."""
    everything = stopped(connection, name)
    if everything is not None:
        return (
            f"every signer is stopped ({everything}). Run `chainfold sign resume`, "
            "without a name"
        )
    found = find_signer(connection, name)
    if found is None:
        return ""
    for each in list_incidents(connection, source=found.source):
        return (
            f"incident {each.id} of chain {each.chain} is open: {each.cause} When you "
            f"know why, run `chainfold incident resolve {each.id} --reason <why>` and "
            "then this again"
        )
    health = {each.name: each for each in signer_health(connection, now())}[name]
    return f"{health.reason}: {health.remedy}" if health.reason else ""


@sign.command(name="show")
@pass_state
def sign_show(state: CliState) -> None:
    """Show every signer: its nonces, its queue, and what blocks it."""
    with state.reading() as engine, engine.connect() as connection:
        found = signer_health(connection, now())
    for each in found:
        click.echo(
            f"{each.name} {each.address}: nonce {each.next_nonce}, "
            f"{each.open_slots} open (oldest {each.oldest_open_seconds:.0f} s), "
            f"{each.waiting} waiting (oldest {each.oldest_waiting_seconds:.0f} s), "
            f"{each.held} held"
        )
        if each.reason:
            click.secho(f"  {each.reason}: {each.remedy}", fg="red")
    sys.exit(1 if any(each.reason for each in found) else 0)


def _known(state: CliState, signer: str | None) -> None:
    if signer is not None and signer not in state.settings.signers:
        raise OperationError(
            f"no signer {signer!r} in the settings; there is "
            f"{', '.join(state.settings.signers) or 'none'}."
        )
