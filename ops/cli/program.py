"""`program`: keys, deployments and checks of Solana programs."""

import sys
from pathlib import Path

import click
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from ops.buffers import close_buffers, find_buffers
from ops.chains.solana.client import solana_client
from ops.cli.context import CliState, pass_state
from ops.cli.idl_files import IdlFiles
from ops.cluster import LOADER_UNITS, Cluster
from ops.deploying import (
    Deployed,
    deploy,
    find_program,
    hand_over,
    plan,
    read_program,
)
from ops.errors import OperationError
from ops.idl_versions import fetch_versions
from ops.idls import fetch_idl
from ops.keypairs import read_keypair, write_keypair
from ops.settings import SOLANA, ChainSettings

FINAL = "none"


def to_address(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> Pubkey | None:
    """Return the key that a parameter's text stands for, or say that it is none."""
    try:
        return None if value is None else Pubkey.from_string(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no address of Solana: 32 bytes in base58", context, parameter
        ) from None


def _to_heir(
    context: click.Context, parameter: click.Parameter, value: str
) -> Pubkey | None:
    return None if value == FINAL else to_address(context, parameter, value)


FILE = click.Path(path_type=Path, dir_okay=False)
CHAIN = click.option("--chain", "name", help="Which chain of the settings.")
KEYPAIR = click.option(
    "--keypair",
    type=FILE,
    required=True,
    help="The key file that pays and signs, as Solana's command line writes it.",
)
PRICE = click.option(
    "--unit-price",
    type=click.IntRange(0, 10**9),
    default=0,
    show_default=True,
    help="Micro-lamports for a compute unit.",
)
YES = click.option("--yes", is_flag=True, help="Do not ask before anything is sent.")


@click.group()
def program() -> None:
    """Deploy Solana programs and see what is deployed; make key files."""


@program.command(name="new-key")
@click.argument("file", type=FILE)
def program_new_key(file: Path) -> None:
    """Make a key, write it to FILE, and show its address."""
    click.echo(str(write_keypair(file).pubkey()))


@program.command(name="deploy")
@click.argument("file", type=FILE)
@CHAIN
@KEYPAIR
@click.option(
    "--program-keypair", type=FILE, help="The program's own key: for its first time."
)
@click.option("--address", callback=to_address, help="The program to upgrade.")
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    help="The most bytes that it may ever have.  [default: the file's]",
)
@PRICE
@YES
@pass_state
def program_deploy(
    state: CliState, file: Path, name: str | None, keypair: Path,
    program_keypair: Path | None, address: Pubkey | None, max_bytes: int | None,
    unit_price: int, yes: bool,
) -> None:  # fmt: skip
    """Deploy the program in FILE, or upgrade it; safe to stop and repeat at any point.

    The key that pays is the one that may upgrade it later. Upgrading needs the address
    alone.
    """
    own = None if program_keypair is None else read_keypair(program_keypair)
    if (own is None) == (address is None):
        raise OperationError(
            "say which program: --program-keypair for a new one, --address for one "
            "that is there"
        )
    target = own.pubkey() if own is not None else address
    assert target is not None
    try:
        code = read_program(file.read_bytes(), str(file))
    except OSError as error:
        raise OperationError(
            f"{file} cannot be read ({error.strerror}): name the .so file"
        ) from None
    cluster = open_cluster(state, name, keypair, unit_price)
    planned = plan(cluster, code, target, max_bytes)
    if planned.found is None and own is None:
        raise OperationError(
            f"there is no program {target}: give --program-keypair for a new one"
        )
    if not planned.done:
        click.echo(
            f"{'deploy' if planned.found is None else 'upgrade'} {target}: "
            f"{len(code)} bytes in {len(planned.missing)} parts, "
            f"{planned.lamports / 1e9:.9f} SOL at the most, paid by {cluster.key}"
        )
        if not yes:
            click.confirm("Go on?", abort=True)
    _show(deploy(cluster, planned, own, click.echo))


@program.command(name="show")
@click.argument("address", callback=to_address)
@click.option("--file", type=FILE, help="Compare with this .so file.")
@CHAIN
@pass_state
def program_show(
    state: CliState, address: Pubkey, file: Path | None, name: str | None
) -> None:
    """Show a program: who may change it, and the hash of its code.

    With a file, exit code 1 when the code is another.
    """
    cluster = reading_cluster(state, name)
    found = find_program(cluster, address)
    if found is None:
        raise OperationError(f"there is no program {address} on this chain: check both")
    _show(found)
    if file is not None:
        same = found.holds(read_program(file.read_bytes(), str(file)))
        click.echo(f"  {'is' if same else 'is not'} what {file} holds")
        sys.exit(0 if same else 1)


@program.command(name="fetch-idl")
@click.argument("address", callback=to_address)
@click.option("--file", type=FILE, help="Where to.  [default: idl/<its name>.json]")
@click.option(
    "--history",
    is_flag=True,
    help="Every version that Anchor's own account of it had, into files by slot.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to, with --history.  [default: idl]",
)
@CHAIN
@click.option("--yes", is_flag=True, help="Do not ask before a file is replaced.")
@pass_state
def program_fetch_idl(
    state: CliState, address: Pubkey, file: Path | None, history: bool,
    folder: Path | None, name: str | None, yes: bool,
) -> None:  # fmt: skip
    """Write the IDL that a program keeps on its chain, as Anchor puts it there.

    It is checked as any IDL is. What is shown belongs into the settings. With
    --history the transactions that uploaded it are read, and each version is written
    into <name>.idl.<slot>.json by the slot in which it was whole.
    """
    if (file if history else folder) is not None:
        raise OperationError(
            "say --folder with --history, which writes several files, and --file "
            "without it"
        )
    files = IdlFiles((state.settings.path or Path()).parent, address, yes)
    cluster = reading_cluster(state, name)
    if not history:
        files.write_present(fetch_idl(cluster, address), file)
        return
    chain = solana_chain(state, name)
    files.write_versions(
        fetch_versions(
            cluster, lambda: solana_client(state.settings, chain, None), address
        ),
        folder,
    )


@program.command(name="set-authority")
@click.argument("address", callback=to_address)
@click.argument("to", callback=_to_heir)
@CHAIN
@KEYPAIR
@PRICE
@YES
@pass_state
def program_set_authority(
    state: CliState, address: Pubkey, to: Pubkey | None, name: str | None,
    keypair: Path, unit_price: int, yes: bool,
) -> None:  # fmt: skip
    """Let the key TO change the program from now on; `none`: nobody, for ever."""
    cluster = open_cluster(state, name, keypair, unit_price)
    whom = "nobody, for ever," if to is None else str(to)
    if not yes:
        click.confirm(f"From now on {whom} may change {address}. Go on?", abort=True)
    hand_over(cluster, address, to)
    click.echo(f"{whom} may change {address}")


@program.command(name="buffers")
@click.option("--close", is_flag=True, help="Close them: their lamports come back.")
@CHAIN
@KEYPAIR
@PRICE
@YES
@pass_state
def program_buffers(
    state: CliState, close: bool, name: str | None, keypair: Path, unit_price: int,
    yes: bool,
) -> None:  # fmt: skip
    """List the buffers that deployments of a key have left, and close them.

    What is closed is written anew when its deployment goes on.
    """
    cluster = open_cluster(state, name, keypair, unit_price)
    found = find_buffers(cluster)
    for buffer, lamports in found:
        click.echo(f"{buffer} {lamports / 1e9:.9f} SOL")
    if not close or not found:
        return
    if not yes:
        click.confirm(f"Close {len(found)} buffers?", abort=True)
    closed = close_buffers(cluster, [buffer for buffer, _ in found])
    click.echo(f"{closed} of {len(found)} are closed")
    sys.exit(0 if closed == len(found) else 1)


def open_cluster(
    state: CliState, name: str | None, keypair: Path, unit_price: int,
    unit_limit: int = LOADER_UNITS,
) -> Cluster:  # fmt: skip
    """Return a cluster of the settings, with the key of a file to pay."""
    return _cluster(state, name, read_keypair(keypair), unit_price, unit_limit)


def reading_cluster(state: CliState, name: str | None) -> Cluster:
    """Return a cluster of the settings to look at, with a key that holds nothing."""
    return _cluster(state, name, Keypair(), 0, LOADER_UNITS)


def _cluster(
    state: CliState, name: str | None, payer: Keypair, unit_price: int, unit_limit: int
) -> Cluster:
    chain = solana_chain(state, name)
    urls = [str(url) for url in chain.rpc]
    return Cluster(urls, chain.id, payer, unit_price=unit_price, unit_limit=unit_limit)


def solana_chain(state: CliState, name: str | None) -> ChainSettings:
    """Return the settings of the chain of a name, or of the only one of Solana."""
    chains = state.chains(() if name is None else (name,))
    found = [each for each in chains if each.namespace == SOLANA]
    if len(found) != 1:
        known = ", ".join(each.name for each in found) or "none"
        raise OperationError(
            f"say which chain of Solana: --chain <name>; in the settings: {known}"
        )
    return found[0]


def _show(found: Deployed) -> None:
    held = len(found.code.rstrip(b"\0"))
    click.echo(f"program {found.address}")
    click.echo(f"  upgrade authority {found.authority or 'none: it is final'}")
    click.echo(f"  slot {found.slot}, {held} bytes of {len(found.code)}")
    click.echo(f"  sha256 {found.digest} (without the zeroes at its end)")
