"""`settlement`: the configuration of the program that settles purchases."""

from pathlib import Path
from typing import Any

import click
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from ops.cli.clone import from_clone
from ops.cli.context import CliState, pass_state
from ops.cli.program import (
    CHAIN,
    FILE,
    KEYPAIR,
    PRICE,
    YES,
    open_cluster,
    reading_cluster,
    to_address,
)
from ops.cluster import Cluster, Failed
from ops.errors import OperationError
from ops.keypairs import read_keypair

UNITS = 200_000  # compute units that a change of the configuration keeps within
PROGRAM = click.option(
    "--program", callback=to_address, required=True, help="The program's address."
)
# Each option is a key of `Settings` of the client, but for the mint.
SETTINGS = (
    click.option("--usdc", callback=to_address, help="The mint of USDC."),
    click.option(
        "--treasury-authority",
        callback=to_address,
        help="Who owns the accounts that pay.",
    ),
    click.option(
        "--fee-bps", type=click.IntRange(0, 10_000), help="The platform's fee rate."
    ),
    click.option("--name", "collection", help="Of the collection, 1 to 22 bytes."),
    click.option("--symbol", help="Of the collection, 1 to 10 bytes."),
    click.option("--uri-base", help="Before the metadata hash in each NFT's URI."),
)


def _with_settings(verb: Any) -> Any:
    """Add the options of the configuration."""
    for option in reversed(SETTINGS):
        verb = option(verb)
    return verb


@click.group()
def settlement() -> None:
    """Configure the program that settles purchases, in a clone (`devnet/programs`)."""


@settlement.command(name="initialize")
@PROGRAM
@CHAIN
@KEYPAIR
@click.option("--admin-keypair", type=FILE, help="The admin's.  [default: --keypair]")
@_with_settings
@PRICE
@YES
@pass_state
def settlement_initialize(
    state: CliState, /, program: Pubkey, name: str | None, keypair: Path,
    admin_keypair: Path | None, unit_price: int, yes: bool, **given: Any,
) -> None:  # fmt: skip
    """Make the configuration, once, with the key that may upgrade the program."""
    missing = [key for key, value in given.items() if value is None]
    if missing:
        options = ", ".join(_option(each) for each in missing)
        raise OperationError(f"the first configuration is a whole one: give {options}")
    cluster = open_cluster(state, name, keypair, unit_price, UNITS)
    admin = cluster.payer if admin_keypair is None else read_keypair(admin_keypair)
    client = from_clone("devnet.solana.settlement")
    usdc, settings = _settings(client, given)
    call = client.initialize(cluster.key, admin.pubkey(), usdc, settings, program)
    _send(
        cluster,
        client,
        program,
        call,
        yes,
        *(() if admin_keypair is None else (admin,)),
    )


@settlement.command(name="configure")
@PROGRAM
@CHAIN
@KEYPAIR
@_with_settings
@PRICE
@YES
@pass_state
def settlement_configure(
    state: CliState, /, program: Pubkey, name: str | None, keypair: Path,
    unit_price: int, yes: bool, **given: Any,
) -> None:  # fmt: skip
    """Change what is given of the configuration, with the admin's key."""
    cluster = open_cluster(state, name, keypair, unit_price, UNITS)
    client = from_clone("devnet.solana.settlement")
    found = _config(cluster, client, program)
    now = {
        "usdc": found.usdc_mint,
        "treasury_authority": found.settings.treasury_authority,
        "fee_bps": found.settings.fee_bps,
        "collection": found.settings.name,
        "symbol": found.settings.symbol,
        "uri_base": found.settings.uri_base,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    usdc, settings = _settings(client, {**now, **chosen})
    call = client.configure(cluster.key, usdc, settings, program)
    _send(cluster, client, program, call, yes)


@settlement.command(name="propose-admin")
@click.argument("address", callback=to_address)
@PROGRAM
@CHAIN
@KEYPAIR
@PRICE
@YES
@pass_state
def settlement_propose_admin(
    state: CliState, address: Pubkey, program: Pubkey, name: str | None, keypair: Path,
    unit_price: int, yes: bool,
) -> None:  # fmt: skip
    """Let ADDRESS become the admin, once it accepts."""
    cluster = open_cluster(state, name, keypair, unit_price, UNITS)
    client = from_clone("devnet.solana.settlement")
    call = client.propose_admin(cluster.key, address, program)
    _send(cluster, client, program, call, yes)


@settlement.command(name="accept-admin")
@PROGRAM
@CHAIN
@KEYPAIR
@PRICE
@YES
@pass_state
def settlement_accept_admin(
    state: CliState, program: Pubkey, name: str | None, keypair: Path, unit_price: int,
    yes: bool,
) -> None:  # fmt: skip
    """Become the admin, as proposed."""
    cluster = open_cluster(state, name, keypair, unit_price, UNITS)
    client = from_clone("devnet.solana.settlement")
    _send(cluster, client, program, client.accept_admin(cluster.key, program), yes)


@settlement.command(name="show")
@PROGRAM
@CHAIN
@pass_state
def settlement_show(state: CliState, program: Pubkey, name: str | None) -> None:
    """Show the configuration, and what the treasury's associated account holds."""
    cluster = reading_cluster(state, name)
    client = from_clone("devnet.solana.settlement")
    found = _config(cluster, client, program)
    _show(found)
    place = client.associated(found.settings.treasury_authority, found.usdc_mint)
    account = cluster.account(place)
    if account is None:
        click.echo(f"  treasury {place}: not there yet, send it USDC")
    else:
        held = int.from_bytes(bytes(account.data)[64:72], "little")
        click.echo(f"  treasury {place}: {held / 1e6:.6f} USDC")


# Any: the client's module is in a clone alone.
def _settings(client: Any, given: dict[str, Any]) -> tuple[Pubkey, Any]:
    rest = {key: given[key] for key in ("fee_bps", "symbol", "uri_base")}
    return given["usdc"], client.Settings(
        given["treasury_authority"], name=given["collection"], **rest
    )


def _config(cluster: Cluster, client: Any, program: Pubkey) -> Any:
    account = cluster.account(client.config_address(program))
    if account is None or account.owner != program:
        raise OperationError(
            f"{program} has no configuration: run `chainfold settlement initialize`"
        )
    return client.read_config(bytes(account.data))


def _send(
    cluster: Cluster, client: Any, program: Pubkey, call: Instruction, yes: bool,
    *signers: Keypair,
) -> None:  # fmt: skip
    if not yes:
        click.confirm(f"{cluster.key} signs for {program}. Go on?", abort=True)
    try:
        click.echo(f"transaction {cluster.run([call], signers)}")
    except Failed as error:
        if error.code is None:
            raise
        text = client.error_text(error.code)
        raise OperationError(f"{program} refuses, as {text}") from None
    _show(_config(cluster, client, program))


def _show(found: Any) -> None:
    nobody = found.pending_admin == Pubkey.default()
    click.echo(f"  admin {found.admin}")
    if not nobody:
        click.echo(f"  proposed admin {found.pending_admin}")
    click.echo(f"  treasury authority {found.settings.treasury_authority}")
    click.echo(f"  USDC {found.usdc_mint}")
    click.echo(f"  fee {found.settings.fee_bps} basis points")
    click.echo(f"  collection {found.settings.name} ({found.settings.symbol})")
    click.echo(f"  URI {found.settings.uri_base}<metadata hash>.json")


def _option(name: str) -> str:
    return "--name" if name == "collection" else "--" + name.replace("_", "-")
