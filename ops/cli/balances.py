"""The part of `verify --chain` that compares token balances, and its words."""

import asyncio
import json
from dataclasses import asdict

import click
from sqlalchemy import Engine

from indexer.solana.balances import BalanceComparison
from ops.chains.solana.balances import compare, token_streams
from ops.cli.context import CliState
from ops.errors import OperationError
from ops.indexing import streams
from ops.settings import SOLANA

SHOWN = 5


def verify_balances(state: CliState, engine: Engine, *, as_json: bool) -> int:
    """Compare followed token accounts with their chains, and print what differs.

    Returns how many differ or could not be compared yet. Raises OperationError where
    no chain follows any.
    """
    plans = {
        name: (chain, plan)
        for name, (chain, plan) in streams(state.settings, state.registry).items()
        if chain.namespace == SOLANA and token_streams(plan)
    }
    if not plans:
        raise OperationError(
            "no chain follows token accounts, so there is nothing to compare with it: "
            "write [chains.<name>.tokens], or leave out --chain"
        )
    wrong = 0
    for name, (chain, plan) in plans.items():
        found = asyncio.run(
            compare(state.settings, chain, engine, state.registry, plan)
        )
        wrong += len(found.differences) + len(found.unread)
        if as_json:
            click.echo(json.dumps({"chain": name, "balances": asdict(found)}))
        else:
            _tell(name, found)
    return wrong


def _tell(name: str, found: BalanceComparison) -> None:
    compared = len(found.equal) + len(found.differences)
    click.echo(
        f"{name}: {len(found.differences)} of {compared} token accounts hold something "
        "else than their movements add up to"
    )
    for each in found.differences[:SHOWN]:
        click.echo(
            f"  {each.account}: its movements add up to {each.folded}, and it held "
            f"{each.held} in slot {each.slot}"
        )
    if found.differences:
        since = min(each.since for each in found.differences)
        click.echo(
            f"  Read the chain again: `chainfold rewind {name} {since}`, then follow "
            "it. If that changes nothing, its endpoints hide something: add another."
        )
    for accounts, why in (
        (found.unread, "the chain is not read up to the final slot: follow it on"),
        (found.unknown, "nothing moved since the slot from which it is read"),
    ):
        if accounts:
            shown = ", ".join(accounts[:SHOWN])
            click.echo(f"  {len(accounts)} not compared, {why}: {shown}")
    if found.others:
        click.echo(f"  {len(found.others)} followed addresses are no token accounts")
