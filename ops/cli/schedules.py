"""`schedule`: list schedules, and run one now."""

import click

from commands.actions import run_schedule
from db.timers import due_states, schedule_states
from ops.cli.context import CliState, at_terminal, pass_state
from ops.commanding import now


@click.group()
def schedule() -> None:
    """List schedules, and run one now."""


@schedule.command(name="list")
@pass_state
def schedule_list(state: CliState) -> None:
    """List schedules and rows that become due: times, next and last run."""
    registry = state.registry
    with state.reading() as engine, engine.connect() as connection:
        found = schedule_states(connection, registry.schedules.values())
        found += due_states(connection, registry.dues.values())
    for each in found:
        click.secho(each.id, bold=True)
        click.echo(f"  {each.doc.splitlines()[0] if each.doc else ''}")
        click.echo(f"  times     {each.times}")
        if each.next_at is not None:
            click.echo(f"  next      {each.next_at:%Y-%m-%d %H:%M} UTC")
        if each.last_at is not None:
            by = f", asked for by {each.last_asked_by}" if each.last_asked_by else ""
            click.echo(f"  last run  {each.last_at:%Y-%m-%d %H:%M} UTC{by}")
    if not found:
        click.echo("no domain here declares a timer")


@schedule.command(name="run")
@click.argument("name")
@pass_state
def schedule_run(state: CliState, name: str) -> None:
    """Have schedule NAME run now, besides its times.

    Whoever follows the chains (`chainfold run`, `chainfold index`) runs it within a
    second; the journal keeps who asked.
    """
    with state.database() as engine, engine.begin() as connection:
        run_schedule(connection, state.registry, name, actor=at_terminal(), now=now())
    click.echo(f"{name} runs as soon as the chains are followed")
