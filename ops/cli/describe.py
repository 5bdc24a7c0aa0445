"""`describe`: the declarations and their tables."""

import click

from ops.cli.context import CliState, pass_state
from ops.describe import describe_all, describe_event, describe_projection
from ops.errors import OperationError


@click.command()
@click.argument("name", required=False)
@click.option("--sql", is_flag=True, help="Show tables and statements too.")
@pass_state
def describe(state: CliState, name: str | None, sql: bool) -> None:
    """Show what is declared: all of it, or one projection or event."""
    registry = state.registry
    if name is None:
        lines = describe_all(registry)
    elif name in registry.projections:
        lines = describe_projection(registry.projections[name], sql=sql)
    else:
        found = [
            event
            for event in registry.events.values()
            if name in (event.spec.table, event.spec.name, event.spec.id)
        ]
        if not found:
            raise OperationError(
                f"nothing is declared as {name!r}; `chainfold describe` lists all."
            )
        lines = (line for event in found for line in describe_event(event, sql=sql))
    for line in lines:
        click.echo(line)
