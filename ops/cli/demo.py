"""`demo`: see it work in two minutes, with nothing installed beforehand."""

import sys
from pathlib import Path

import click

from ops.cli.clone import from_clone
from ops.cli.context import CliState, pass_state


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".chainfold/demo"),
    show_default=True,
    help="Where the demo lives; begun anew each time.",
)
@click.option("--port", type=int, default=8080, show_default=True, help="Of the API.")
@click.option("--seconds", type=float, help="End by itself after this time.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the business.")
@pass_state
def demo(
    state: CliState, folder: Path, port: int, seconds: float | None, seed: int
) -> None:
    """Run an EVM and a Solana chain with made-up business, index both, serve JSON."""
    run_demo = from_clone("examples.demo").run_demo
    wrong = run_demo(folder, port=port, seconds=seconds, seed=seed, say=click.echo)
    sys.exit(1 if wrong else 0)
