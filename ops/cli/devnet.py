"""`devnet`: a development chain with the contracts on it, and business on that."""

import time
from pathlib import Path

import click

from ops.devnet.deploy import Deployment
from ops.devnet.run import DEPLOYMENT, up
from ops.devnet.traffic import Traffic
from ops.errors import OperationError


@click.group()
def devnet() -> None:
    """Run a development chain (anvil) with the crowdfunding contracts."""


@devnet.command(name="up")
@click.option("--port", type=int, default=8545, show_default=True)
@click.option("--chain-id", type=click.IntRange(1), default=31337, show_default=True)
@click.option(
    "--block-time",
    type=float,
    help="Seconds between blocks; default: one a transaction.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default=True,
    help="Where devnet.json and chainfold.toml are written.",
)
@click.option("--force", is_flag=True, help="Overwrite a chainfold.toml that is there.")
def devnet_up(
    port: int, chain_id: int, block_time: float | None, out: Path, force: bool
) -> None:
    """Start the chain, deploy the contracts, and stay until Ctrl-C."""
    if (out / "chainfold.toml").exists() and not force:
        raise OperationError(
            f"{out / 'chainfold.toml'} exists: choose another --out, or add --force."
        )
    out.mkdir(parents=True, exist_ok=True)
    anvil, deployment = up(port, chain_id, block_time, out)
    try:
        click.echo(f"chain {deployment.chain_id} at {anvil.url}")
        for name, contract in deployment.contracts.items():
            click.echo(f"  {name} {contract.address}")
        click.echo(f"settings in {out / 'chainfold.toml'}; Ctrl-C ends the chain")
        while anvil.running:
            time.sleep(0.5)
        raise OperationError("the chain has ended by itself; start it again")
    except KeyboardInterrupt:
        click.echo("ended")
    finally:
        anvil.stop()


@devnet.command(name="traffic")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True)
@click.option(
    "--deployment",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(DEPLOYMENT),
    show_default=True,
    help="The devnet.json that `devnet up` wrote.",
)
def devnet_traffic(seed: int, steps: int, path: Path) -> None:
    """Play seeded business on the chain: issuers, campaigns, refunds, certificates."""
    if not path.exists():
        raise OperationError(f"{path} is not there: run `chainfold devnet up` first.")
    tally = Traffic(Deployment.from_json(path.read_text()), seed=seed).play(steps)
    click.echo(
        f"{tally.steps} steps, {tally.transactions} transactions, {tally.logs} logs"
    )
