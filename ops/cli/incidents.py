"""`incident`: why chains were stopped, and saying that it is over."""

import click
from sqlalchemy import Connection

from db.commands.health import signer_health
from db.incidents import Incident, list_incidents, resolve
from db.journal.append import append
from db.journal.audit.entries import ActionTaken
from ops.cli.context import CliState, at_terminal, pass_state
from ops.commanding import now


@click.group()
def incident() -> None:
    """Show why chains were stopped, and resolve incidents."""


@incident.command(name="list")
@click.option("--all", "resolved", is_flag=True, help="Resolved ones too.")
@pass_state
def incident_list(state: CliState, resolved: bool) -> None:
    """List the open incidents: number, chain, since when, why."""
    with state.reading(whole=False) as engine, engine.connect() as connection:
        found = list_incidents(connection, resolved=resolved)
    for each in found:
        click.echo(f"{each.id}  {each.chain}  {each.kind}  {each.at:%Y-%m-%d %H:%M:%S}")
        click.echo(f"  {each.cause}")
        if each.resolved_at is not None:
            who = each.resolved_by or "somebody"
            click.echo(
                f"  resolved {each.resolved_at:%Y-%m-%d %H:%M:%S} by {who}: "
                f"{each.resolution or 'no reason given'}"
            )
    if not found:
        click.echo("no incident" if resolved else "no open incident")
    if any(each.resolved_at is None for each in found):
        click.echo(
            "When you know why: if what was written is right, leave the endpoint that "
            "says otherwise out of the settings and run `chainfold incident resolve "
            "<number> --reason <why>`; if the chain is, run `chainfold rewind` as the "
            "cause says, which resolves it too."
        )


@incident.command(name="resolve")
@click.argument("number", type=click.IntRange(1))
@click.option("--reason", required=True, help="What was found; kept in the journal.")
@pass_state
def incident_resolve(state: CliState, number: int, reason: str) -> None:
    """Say that incident NUMBER is over, once you know why it was.

    The chain is followed again; if its cause is still there it is stopped again, with a
    new incident. Nothing that was written is changed: `chainfold rewind` does that.
    """
    with state.database() as engine, engine.begin() as connection:
        found = resolve(connection, number, by=at_terminal().name, reason=reason)
        note_resolved(state, connection, found, reason)
        left = list_incidents(connection, source=found.source)
        halted = [each.name for each in signer_health(connection, now()) if each.paused]
    click.echo(f"incident {number} of {found.chain} is resolved")
    if left:
        numbers = ", ".join(str(each.id) for each in left)
        click.echo(f"{found.chain} has open incidents still: {numbers}")
        return
    click.echo(f"`chainfold run` follows {found.chain} again; start `index` again")
    if halted:
        click.echo(
            f"halted signers stay so until `chainfold sign resume`: {', '.join(halted)}"
        )


def note_resolved(
    state: CliState, connection: Connection, found: Incident, reason: str
) -> None:
    """Put into the journal who resolved an incident, and why."""
    subject = f"incident {found.id} of {found.chain}"
    entry = ActionTaken(action="resolve", subject=subject, outcome=reason)
    append(connection, state.registry, entry, actor=at_terminal(), now=now())
