"""`devnet`: development chains, with the contracts on one and business on that."""

import signal
import time
from pathlib import Path

import click

from ops.cli.clone import from_clone
from ops.errors import OperationError

DEPLOYMENT = "devnet.json"


@click.group()
def devnet() -> None:
    """Run a development chain, or Stripe: anvil with our contracts, Solana, fakes."""


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
    up = from_clone("devnet.run").up
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
    deployment = from_clone("devnet.deploy").Deployment.from_json(path.read_text())
    traffic = from_clone("examples.crowdfunding.traffic").Traffic
    tally = traffic(deployment, seed=seed).play(steps)
    click.echo(
        f"{tally.steps} steps, {tally.transactions} transactions, {tally.logs} logs"
    )


@devnet.command(name="fakenode")
@click.option("--profile", default="edge-0.9", show_default=True, help="Which node.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--blocks", type=click.IntRange(0), default=100, show_default=True)
@click.option(
    "--faults",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="The share of requests that meet a fault.",
)
@click.option("--lies", is_flag=True, help="Some of the faults are lies.")
@click.option("--port", type=int, default=8545, show_default=True)
@click.option("--chain-id", type=click.IntRange(1), default=31337, show_default=True)
@click.option(
    "--block-time",
    type=click.FloatRange(0.01),
    default=2.0,
    show_default=True,
    help="Seconds between blocks.",
)
def devnet_fakenode(
    profile: str, seed: int, blocks: int, faults: float, lies: bool, port: int,
    chain_id: int, block_time: float,
) -> None:  # fmt: skip
    """Serve a made-up chain as one kind of node does, with its limits and faults."""
    run = from_clone("fakenode.run")
    if profile not in run.PROFILES:
        raise OperationError(
            f"no profile {profile!r}: one of {', '.join(run.PROFILES)}"
        )
    try:
        for line in run.serve(
            profile, seed=seed, blocks=blocks, share=faults, lies=lies, port=port,
            chain_id=chain_id, block_time=block_time,
        ):  # fmt: skip
            click.echo(line)
    except OSError as error:
        raise OperationError(
            f"cannot listen on port {port} ({error}): choose another --port."
        ) from None
    except KeyboardInterrupt:
        click.echo("ended")


@devnet.command(name="solana")
@click.option("--port", type=click.IntRange(1, 65534), default=8899, show_default=True)
@click.option(
    "--slot-ms",
    type=click.IntRange(0),
    default=400,
    show_default=True,
    help="Milliseconds between slots; 0: a slot only when devnet_advance is called.",
)
@click.option(
    "--finalized-after",
    type=click.IntRange(1, 400),
    default=32,
    show_default=True,
    help="Slots until a block is final.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def devnet_solana(port: int, slot_ms: int, finalized_after: int, seed: int) -> None:
    """Serve a Solana chain with our programs on it, until Ctrl-C."""
    run = from_clone("devnet.solana.run")
    programs = from_clone("devnet.programs.build")
    options = run.NodeOptions(
        slot_ms=slot_ms, finalized_after=finalized_after, seed=seed
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with run.SolanaNode(options, port=port) as node:
            click.echo(f"JSON-RPC at {node.url}, WebSocket at {node.ws_url}")
            for name in programs.PROGRAMS:
                click.echo(f"  {name} {programs.interface(name)['address']}")
            click.echo("Ctrl-C ends the chain")
            while node.running:
                time.sleep(0.2)
        raise OperationError("the chain has ended by itself; start it again")
    except KeyboardInterrupt:
        click.echo("ended")


@devnet.command(name="stripe")
@click.option("--port", type=click.IntRange(1, 65535), default=8420, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--webhook",
    default="",
    help="Where webhooks are sent: http://127.0.0.1:8080/api/v1/checkout/webhook.",
)
@click.option(
    "--late-fees",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="The share of payments whose fee is known some seconds later.",
)
def devnet_stripe(port: int, seed: int, webhook: str, late_fees: float) -> None:
    """Serve a Stripe account that takes no real money, until Ctrl-C."""
    run = from_clone("devnet.stripe.run")
    fake = run.FakeStripe(seed=seed, port=port, live=True, webhook_url=webhook)
    fake.faults.late_fees = late_fees
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with fake:
            click.echo(f"Stripe's API at {fake.url}, secret key {fake.key}")
            click.echo(f"  webhook secret {fake.webhooks.secret}")
            click.echo(f"  pay for a session: {fake.url}/pay/<session>")
            click.echo(f"  buyers, banks and faults: POST {fake.url}/panel/<act>")
            click.echo("Ctrl-C ends it; nothing is kept")
            while True:
                time.sleep(0.2)
    except KeyboardInterrupt:
        click.echo("ended")
