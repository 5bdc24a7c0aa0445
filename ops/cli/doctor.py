"""`doctor`: check everything that can be checked, before or when it is wrong."""

import sys

import click

from ops.cli.context import CliState, pass_state
from ops.doctor import examine


@click.command()
@pass_state
def doctor(state: CliState) -> None:
    """Check settings, database, endpoints and contracts; exit 1 if a check fails."""
    wrong = 0
    for finding in examine(state.settings, state.registry):
        mark = "ok " if finding.well else "BAD"
        click.secho(
            f"{mark} {finding.check}: {finding.detail}",
            fg=None if finding.well else "red",
        )
        wrong += not finding.well
    if wrong:
        click.echo(f"{wrong} of the checks need attention")
    sys.exit(1 if wrong else 0)
