"""`new`: the folder of a domain of one's own."""

from pathlib import Path

import click

from ops.cli.context import CliState, pass_state
from ops.scaffold import write_domain


@click.command()
@click.argument("name")
@click.option(
    "--abi",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Of the contract whose events and functions it begins with.",
)
@click.option(
    "--idl",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Of the Solana program whose events and instructions it begins with.",
)
@pass_state
def new(state: CliState, name: str, abi: Path | None, idl: Path | None) -> None:
    """Write a domain that loads into the folder NAME, to delete and rename in."""
    if abi is not None and idl is not None:
        raise click.UsageError("say --abi or --idl, and begin with one of them")
    folder = Path(name).absolute()
    contract = write_domain(folder, abi, idl)
    place = f'[chains.<chain>.contracts]\n    {contract} = "0x…"'
    if idl is not None:
        place = f'[chains.<chain>.programs]\n    {contract} = "…"'
    click.echo(
        f"{name}/ is a domain. Try its story with `python -m pytest {name}`, then put "
        f'into chainfold.toml, at the top:\n\n    domains = ["{name}"]\n'
        f'    declarations = ["./{name}"]\n\nand where it is, under the '
        f"chain:\n\n    {place}"
    )
