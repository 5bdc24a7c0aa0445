"""`journal`: its days on a chain, proofs of its entries, and the erasing of persons."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import Engine

from db.commands.signers import find_signer
from db.journal import root
from db.journal.anchors import AnchorStatus, check_days
from db.journal.personal import erase, erase_again
from db.journal.rebuild import rebuild_facts
from ops.anchoring import NOTARY, TENANT, close_and_anchor
from ops.cli.context import CliState, at_terminal, pass_state
from ops.command_service import open_command_service
from ops.commanding import now, open_worker
from ops.errors import OperationError


@click.group()
def journal() -> None:
    """Anchor the journal's days on a chain, prove its entries, erase a person."""


@journal.command(name="anchor")
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day (UTC); the last that is over and in which something was said.",
)
@pass_state
def journal_anchor(state: CliState, day: datetime | None) -> None:
    """Close a day and ask for its root to be put on the chain; safe to repeat.

    `chainfold work` does it by itself when there is a notary among the signers.
    """
    with state.database() as engine:
        open_worker(state.settings, engine, NOTARY)  # registers it
        command_service = open_command_service(state.settings, engine)
        asked = close_and_anchor(
            command_service, day.date() if day else None, at_terminal().name
        )
    if asked is None:
        raise OperationError("nothing was said in a day that is over: try tomorrow")
    closed = asked.day
    click.echo(
        f"{closed.day}: entries {closed.first} to {closed.last}, root "
        f"0x{closed.root.hex()}"
    )
    click.echo(f"{asked.command.id} {'accepted' if asked.fresh else 'known already'}")


@journal.command(name="check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each day.")
@pass_state
def journal_check(state: CliState, as_json: bool) -> None:
    """Compare every closed day with its entries and with what is on the chain.

    Only anchors of our own signer count. Exit code 1 unless all days are anchored.
    """
    with state.reading() as engine, engine.connect() as connection:
        signer = find_signer(connection, NOTARY)
        days = list(check_days(connection, None if signer is None else signer.address))
    for each in days:
        if as_json:
            click.echo(json.dumps(_plain(each.day) | {"status": each.status}))
        else:
            click.echo(f"{each.day.day}: {each.status}")
    if not days and not as_json:
        click.echo("no day was closed yet: run `chainfold journal anchor`")
    sys.exit(0 if all(each.status is AnchorStatus.ANCHORED for each in days) else 1)


@journal.command(name="prove")
@click.argument("seq", type=click.IntRange(1))
@pass_state
def journal_prove(state: CliState, seq: int) -> None:
    """Print the proof that an entry is in the root of its day, as JSON."""
    with state.reading() as engine, engine.connect() as connection:
        try:
            found = root.inclusion(connection, seq)
        except LookupError as error:
            raise OperationError(f"{error}. `chainfold status` says how long it is.") \
                from error  # fmt: skip
    steps = [
        {"hash": "0x" + step.hash.hex(), "side": "left" if step.left else "right"}
        for step in found.steps
    ]
    entry = {"seq": seq, "hash": "0x" + found.hash.hex(), "steps": steps}
    click.echo(json.dumps(entry | _plain(found.day), indent=2))


@journal.command(name="rebuild")
@pass_state
def journal_rebuild(state: CliState) -> None:
    """Make facts and rows of the journal anew, from nothing but its entries."""
    with state.database() as engine:
        for name, count in rebuild_facts(engine, state.registry).items():
            click.echo(f"{name}: {count}")


@journal.command(name="erase")
@click.argument("subject", required=False)
@click.option(
    "--again", is_flag=True, help="Everyone erased before; after restoring a backup."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_state
def journal_erase(state: CliState, subject: str | None, again: bool, yes: bool) -> None:
    """Erase a person: delete the key of all values about SUBJECT, for ever."""
    if (subject is None) is not again:
        raise OperationError("name a subject, or say --again")
    with state.database() as engine:
        if again:
            _erase_again(engine)
            return
        if not yes:
            click.confirm(f"Erase {subject}? It cannot be undone", abort=True)
        with engine.begin() as connection:
            done = erase(
                connection,
                state.registry,
                str(subject),
                actor=at_terminal(TENANT),
                now=now(),
            )
    was = "was erased before" if done is None else f"erased, entry {done.seq}"
    click.echo(f"{subject}: {was}")


def _erase_again(engine: Engine) -> None:
    with engine.begin() as connection:
        found = erase_again(connection, now())
    for subject in found:
        click.echo(f"{subject}: erased again")
    click.echo(f"{len(found)} keys deleted")


def _plain(day: root.DayRoot) -> dict[str, Any]:
    ended = datetime.fromtimestamp(day.ended_at, UTC)
    return {
        "day": day.day.isoformat(),
        "first": day.first,
        "last": day.last,
        "root": "0x" + day.root.hex(),
        "last_hash": "0x" + day.last_hash.hex(),
        "ended_at": ended.isoformat(),
    }
