"""`migrate`, `verify`, `repair`, `rewind`: the tables and what they were made from."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import click
from sqlalchemy import Engine

from db import sources
from db.incidents import resolve_all
from db.journal.verify import faults
from db.position import MAX_HEIGHT
from db.registry import Registry
from db.schema import migrate as migrate_database
from db.schema import rebuild
from db.status import chain_status
from indexer.verify import run_verification
from indexer.writer import rewind as rewind_facts
from ops.cli.balances import verify_balances
from ops.cli.context import CliState, at_terminal, pass_state
from ops.cli.incidents import note_resolved
from ops.errors import OperationError
from ops.renumbering import renumber_chain
from ops.running import acquire_lease_now

MOST_FAULTS = 100


@click.command()
@click.option(
    "--refetch",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="EVENT",
    help="Read this event's facts again because it changed; until that is done the API "
    "says what is missing, and views in SQL show what is there. Without EVENT: find "
    'the blocks of chains with logs = "filtered" whose logs are numbered otherwise '
    "than the rest, since the node changed its way of counting, and read them again.",
)
@click.option("--yes", is_flag=True, help="Do not ask before blocks are read again.")
@click.option(
    "--drop",
    is_flag=True,
    help="Drop tables and columns that this version does not declare; their facts are "
    "kept.",
)
@pass_state
def migrate(state: CliState, refetch: tuple[str, ...], drop: bool, yes: bool) -> None:
    """Bring tables and views up to date with the declarations.

    Nothing else changes a database that is there: other verbs say what differs.
    """
    known = {*state.registry.events} | {
        event.spec.name for event in state.registry.events.values()
    }
    events = [name for name in refetch if name]
    for name in events:
        if name not in known:
            raise OperationError(
                f"--refetch {name}: no such event; there is {', '.join(sorted(known))}."
            )
    with state.any_database() as engine:
        report = migrate_database(engine, state.registry, refetch=events, drop=drop)
        for verb in ("created", "rebuilt", "emptied", "dropped"):
            for name in getattr(report, verb):
                click.echo(f"{verb} {name}")
        if len(events) < len(refetch):
            for chain in state.chains(()):
                _renumber(state, engine, chain.name, yes=yes)
        elif not any(asdict(report).values()):
            click.echo("nothing to do")


def _renumber(state: CliState, engine: Engine, name: str, *, yes: bool) -> None:
    """Find the facts of a chain that are numbered otherwise, ask, and move them."""

    def agree(found: Mapping[int, int]) -> bool:
        facts, blocks = sum(found.values()), len(found)
        shown = ", ".join(map(str, list(found)[:10])) + (", …" if blocks > 10 else "")
        click.echo(f"{name}: {facts} facts in {blocks} blocks are numbered otherwise "
                   f"than the chain counts: {shown}")  # fmt: skip
        return yes or click.confirm("Read these blocks again and number them alike?")

    done = renumber_chain(state.settings, name, engine, state.registry, agree)
    click.echo(f"{name}: {done}")


@click.command()
@click.argument("projections", nargs=-1)
@click.option(
    "--chain",
    "with_chain",
    is_flag=True,
    help="Compare the balances of the followed token accounts of Solana chains with "
    "what nodes say at a final slot, too.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each table.")
@pass_state
def verify(
    state: CliState, projections: tuple[str, ...], as_json: bool, with_chain: bool
) -> None:
    """Compare every table, or those named, with its facts; exit 1 if any differs.

    Without names the journal is walked too: each entry has its hash and follows the one
    before, and its fact says what it says.
    """
    _check_names(state, projections)
    total = 0
    with state.reading() as engine:
        for each in run_verification(engine, state.registry, projections):
            total += len(each.differences)
            if as_json:
                found = [_readable(asdict(d)) for d in each.differences]
                row = {"projection": each.projection, "differences": found}
                click.echo(json.dumps(row, default=str))
                continue
            click.echo(f"{each.projection}: {len(each.differences)} differences")
            for difference in each.differences[:5]:
                click.echo(f"  {_readable(asdict(difference))}")
        wrong = 0
        if not projections:
            wrong = _verify_journal(engine, state.registry, as_json=as_json)
        unread = 0 if projections else _unread(engine)
        apart = verify_balances(state, engine, as_json=as_json) if with_chain else 0
    if as_json and not projections:
        click.echo(json.dumps({"unread_logs": unread}))
    elif unread:
        click.echo(
            f"{unread} logs of followed contracts are in no table: they are not what "
            "their ABI or IDL says, see `chainfold status`"
        )
    if total and not as_json:
        click.echo("Run `chainfold repair` with the names of the tables that differ.")
    if wrong and not as_json:
        click.echo(
            "Run `chainfold journal rebuild` for facts that differ. An entry that was "
            "changed cannot be repaired: compare it with a backup."
        )
    sys.exit(1 if total or wrong or unread or apart else 0)


def _unread(engine: Engine) -> int:
    """Count the logs that could not be read, of all chains."""
    with engine.connect() as connection:
        return sum(
            chain_status(connection, row.id).undecodable
            for row in sources.all_sources(connection)
        )


def _verify_journal(engine: Engine, registry: Registry, *, as_json: bool) -> int:
    """Verify the journal, print each fault with its entry, and return their number."""
    found = list(islice(faults(engine, registry), MOST_FAULTS))
    if as_json:
        click.echo(json.dumps({"journal": [asdict(fault) for fault in found]}))
        return len(found)
    click.echo(f"journal: {len(found)} faults")
    for fault in found[:5]:
        click.echo(f"  entry {fault.seq} {fault.what}")
    return len(found)


@click.command()
@click.argument("projections", nargs=-1, required=True)
@pass_state
def repair(state: CliState, projections: tuple[str, ...]) -> None:
    """Recompute whole tables from their facts; readers see the old rows until done."""
    _check_names(state, projections)
    with state.database() as engine:
        for name in projections:
            rows = rebuild(engine, state.registry, name)
            click.echo(f"{name}: {rows} rows from facts")


@click.command()
@click.argument("chain")
@click.argument("height", type=click.IntRange(0, MAX_HEIGHT))
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_state
def rewind(state: CliState, chain: str, height: int, yes: bool) -> None:
    """Forget everything of a chain from a block on; it is read again by `index`."""
    state.chains((chain,))
    if not yes:
        click.confirm(
            f"Delete all facts of {chain} from block {height} on? They are read from "
            "the chain again when it is followed",
            abort=True,
        )
    with state.database() as engine:
        with engine.connect() as connection:
            row = sources.find(connection, chain)
        if row is None:
            raise OperationError(
                f"chain {chain} was never followed: nothing to rewind."
            )
        lease = acquire_lease_now(engine, row.id, chain)
        try:
            deleted = rewind_facts(engine, state.registry, row.id, height, lease.guard)
            with engine.begin() as connection:
                sources.reset_from(connection, row.id, height)
                reason = f"rewound to block {height}"
                resolved = resolve_all(
                    connection, row.id, by=at_terminal().name, reason=reason
                )
                for each in resolved:
                    note_resolved(state, connection, each, reason)
        finally:
            lease.release(engine)
    click.echo(f"{chain}: deleted {deleted} facts from block {height} on")
    for each in resolved:
        click.echo(f"{chain}: incident {each.id} is resolved by that")


def _check_names(state: CliState, projections: tuple[str, ...]) -> None:
    known = state.registry.projections
    for name in projections:
        if name not in known:
            raise OperationError(
                f"no projection {name!r}; there is {', '.join(known)}."
            )


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, (bytes, memoryview)):
        return "0x" + bytes(value).hex()
    return value
