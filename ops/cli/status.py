"""`status`: the progress and the health of each chain."""

import dataclasses
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import Engine

from db import sources
from db.diagnosis import Ailment, diagnose
from db.fit import examine
from db.journal.head import read_head
from db.payments.status import payment_status
from db.status import ChainStatus, chain_status, describe_proof, mixed_positions
from db.timers import TimerState, schedule_states
from ops.cli.context import CliState, pass_state
from ops.cli.payments import show_payments
from ops.indexing import streams

OLD_SECONDS = 2 * 86_400


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each chain.")
@pass_state
def status(state: CliState, as_json: bool) -> None:
    """Say for each chain: head, indexed, final, lag, gaps, state and cause.

    Exit code 1 when a chain is not followed, is stopped, stands still, cannot be read
    for long, has an open incident, or facts that are numbered in two ways; or when
    Stripe is not read, or has drift that nobody cleared.
    """
    with state.reading(whole=False) as engine:
        found = collect(state, engine)
        with engine.connect() as connection:
            head = read_head(connection)
            differs = examine(connection, state.registry).message
            payments = None if differs else payment_status(connection)
            schedules = (
                []
                if differs
                else schedule_states(connection, state.registry.schedules.values())
            )
    for each in found:
        if as_json:
            click.echo(json.dumps(_plain(each), default=str))
        else:
            _show(each)
    if head is not None and head.seq and not as_json:
        click.secho("journal", bold=True)
        when = f"{head.at:%Y-%m-%d %H:%M:%S}"
        click.echo(f"  entries   {head.seq:,}, the last at {when}")
    trouble = ""
    if state.settings.stripe.given and not differs:
        poll = state.settings.stripe.poll_seconds
        at = datetime.now(UTC)
        trouble = show_payments(payments, at, poll_seconds=poll, as_json=as_json)
    for each_schedule in schedules:
        click.echo(f"schedule {each_schedule.id}: {_timer(each_schedule)}")
    if not found:
        click.echo("no chain has been followed yet: run `chainfold index`")
    if differs:
        click.secho(differs, fg="red", err=True)
    chains_well = found and all(is_well(each) for each in found)
    well = chains_well and not differs and not trouble
    sys.exit(0 if well else 1)


def _timer(each: TimerState) -> str:
    """The next and the last run of a schedule."""
    times = [("next", each.next_at), ("last", each.last_at)]
    message = [f"{word} run {at:%Y-%m-%d %H:%M} UTC" for word, at in times if at]
    return ", ".join(message) or "not run yet"


def collect(state: CliState, engine: Engine) -> list[ChainStatus]:
    """The status of every chain in the settings that was ever followed."""
    planned = streams(state.settings, state.registry)
    with engine.connect() as connection:
        return [
            chain_status(connection, row.id, planned[row.name][1])
            for row in sources.all_sources(connection)
            if row.name in planned
        ]


def is_well(each: ChainStatus) -> bool:
    """Whether a chain is followed and nothing about it needs a person."""
    odd = each.incidents or each.undecodable or mixed_positions(each)
    return diagnose(each).well and not odd


def _show(each: ChainStatus) -> None:
    word = each.state
    if each.followed_by is None and word not in ("stopped", "new"):
        word = "not followed"
    click.secho(f"{each.name} ({each.chain_id}): {word}", bold=True)
    found = diagnose(each)
    if found.ailment is not Ailment.NONE:
        click.echo(f"  what      {found.ailment}: {found.cause}")
        click.echo(f"  remedy    {found.remedy}")
    age = "" if each.head_time is None else f", {_age(each.head_time, time.time())}"
    click.echo(f"  head      {_number(each.head)}{age}")
    click.echo(f"  indexed   {_number(each.checkpoint)}")
    click.echo(f"  final     {_number(each.final)}")
    click.echo(f"  lag       {_number(each.lag_blocks)} blocks")
    gaps = ", ".join(map(str, each.gaps)) or "none"
    click.echo(f"  gaps      {gaps}")
    if each.followed_by:
        click.echo(f"  followed  by {each.followed_by}")
    else:
        click.echo("  followed  by no process")
    if each.proof is not None:
        click.echo(f"  proved    {describe_proof(each)}")
    if each.undecodable:
        click.secho(
            f"  odd logs  {each.undecodable:,} are not what their ABI or IDL says and "
            "are in no table: see control.undecodable_log, correct that file, then "
            "run `chainfold migrate`, with --refetch and the event if it is declared",
            fg="yellow",
        )
    if mixed := mixed_positions(each):
        click.secho(f"  positions {mixed}", fg="red")
    if each.mended:
        click.echo(
            f"  mended    {each.mended:,} logs have values that were not as their ABI "
            "or IDL says (text that is not UTF-8): see control.undecodable_log"
        )
    for incident in each.incidents:
        click.secho(f"  incident  {incident}", fg="red")
    if each.incidents:
        click.echo("  remedy    `chainfold incident list` has numbers and remedies")


def _plain(each: ChainStatus) -> dict[str, Any]:
    row = dataclasses.asdict(each)
    row["gaps"] = [str(gap) for gap in each.gaps]
    found = diagnose(each)
    row |= {"ailment": found.ailment, "well": is_well(each), "remedy": found.remedy}
    return row


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _age(head_time: int, now: float) -> str:
    """The age of a block, or its date where the chain's clock is not the wall's."""
    seconds = now - head_time
    if not -120 < seconds < OLD_SECONDS:
        return f"made at {datetime.fromtimestamp(head_time, UTC):%Y-%m-%d %H:%M} UTC"
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s old"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min old"
    return f"{seconds / 3600:.0f} h old"
