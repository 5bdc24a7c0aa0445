"""`stripe`: reading payments, and comparing the journal with Stripe's balance."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from sqlalchemy import Engine

from db.journal.append import append
from db.journal.audit.entries import ActionTaken
from db.payments import drift
from db.payments.currencies import shown
from db.payments.drift import Reconciliation
from db.payments.status import PaymentStatus
from indexer.stripe.reader import StripeReader
from indexer.stripe.reconcile import Comparison, compare
from ops.cli.context import CliState, at_terminal, pass_state
from ops.commanding import now
from ops.payments import open_reader

DIFFERENCES_SHOWN = 20
DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def stripe() -> None:
    """Read payments of Stripe, and compare the journal with its balance."""


@stripe.command(name="read")
@click.option("--sweep", is_flag=True, help="Look through all events of 30 days too.")
@pass_state
def stripe_read(state: CliState, sweep: bool) -> None:
    """Read what is new once; `chainfold run` and `index` do so all the time."""
    with state.database() as engine:
        reader = open_reader(state.settings, engine, state.registry)
        done = reader.round()
        added = reader.sweep() if sweep else 0
    click.echo(f"{done.events:,} events read, {done.entries:,} entries made")
    if sweep:
        click.echo(f"the sweep added {added:,} entries")


@stripe.command(name="reconcile")
@click.option("--since", type=DAY, help="First day (UTC); default: 30 days ago.")
@click.option("--until", type=DAY, help="Last day (UTC); default: all that was read.")
@click.option("--read", is_flag=True, help="Look first at what has no entry.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@pass_state
def stripe_reconcile(
    state: CliState,
    since: datetime | None,
    until: datetime | None,
    read: bool,
    as_json: bool,
) -> None:
    """Compare the journal with every balance transaction and payout, to the cent.

    The result is kept. Exit code 1 when something differs or is not explained.
    """
    with state.database() as engine:
        reader = open_reader(state.settings, engine, state.registry)
        row = reader.open()
        last = row.cursor - reader.overlap_seconds if row.cursor else _seconds(now())
        if until is not None:
            last = min(last, _seconds(until + timedelta(days=1)) - 1)
        first = _seconds(since or now() - timedelta(days=30))
        found = reconcile(reader, max(first, 0), max(last, 0), read=read)
        number = keep(engine, row.account, found)
    if as_json:
        click.echo(json.dumps({"id": number, "well": found.well} | found.as_json()))
    else:
        _show(number, found)
    sys.exit(0 if found.well else 1)


@stripe.command(name="reconciliations")
@click.option("--all", "every", is_flag=True, help="Also those without drift.")
@pass_state
def stripe_reconciliations(state: CliState, every: bool) -> None:
    """List comparisons with drift that nobody has cleared."""
    with state.reading() as engine, engine.connect() as connection:
        found = drift.listed(connection, every=every)
    for each in found:
        click.echo(_line(each))
        if each.cleared_at is not None:
            click.echo(
                f"  cleared {each.cleared_at:%Y-%m-%d %H:%M} by {each.cleared_by}: "
                f"{each.reason}"
            )
    if not found:
        click.echo("none" if every else "no drift that is not cleared")


@stripe.command(name="clear")
@click.argument("number", type=click.IntRange(1))
@click.option("--reason", required=True, help="What was found; kept in the journal.")
@pass_state
def stripe_clear(state: CliState, number: int, reason: str) -> None:
    """Say that the drift of reconciliation NUMBER is understood, and why."""
    by = at_terminal()
    with state.database() as engine, engine.begin() as connection:
        drift.clear(connection, number, by=by.name, reason=reason, now=now())
        entry = ActionTaken(
            action="clear", subject=f"reconciliation {number}", outcome=reason
        )
        append(connection, state.registry, entry, actor=by, now=now())
    click.echo(f"reconciliation {number} is cleared")


def reconcile(
    reader: StripeReader, since: int, until: int, *, read: bool
) -> Comparison:
    """Compare; with `read` what has no entry is looked at, and compared again."""
    found = compare(reader.engine, reader.looking(), since=since, until=until)
    if read and found.missing:
        for kind, id_ in found.missing:
            reader.look(kind, id_)
        found = compare(reader.engine, reader.looking(), since=since, until=until)
    return found


def keep(engine: Engine, account: str, found: Comparison) -> int:
    """Keep a comparison; its number."""
    with engine.begin() as connection:
        return drift.keep(
            connection, account, since=found.since, until=found.until,
            well=found.well, found=found.as_json(), now=now(),
        )  # fmt: skip


def show_payments(
    found: PaymentStatus | None,
    at: datetime,
    *,
    poll_seconds: float,
    as_json: bool = False,
) -> str:
    """Print how Stripe is read; what is in the way, empty when all is well."""
    if found is None:
        trouble = "it was never read: run `chainfold run` or `chainfold index`"
        if not as_json:
            click.secho("stripe: new", bold=True)
            click.echo(f"  what      {trouble}")
        return trouble
    row, trouble = found.row, found.trouble(at, poll_seconds)
    if as_json:
        click.echo(json.dumps(_plain(found, trouble), default=str))
        return trouble
    state = row.state if row.read_by or row.state == "new" else "not read"
    click.secho(f"stripe {row.account}: {state}", bold=True)
    if trouble:
        click.echo(f"  what      {trouble}")
    click.echo(f"  mode      {'live' if row.livemode else 'test'}")
    click.echo(f"  read      {_moment(row.polled_at)}, by {row.read_by or 'nobody'}")
    newest = datetime.fromtimestamp(row.cursor, UTC) if row.cursor else None
    click.echo(f"  newest    event of {_moment(newest)}")
    counts_text = ", ".join(f"{n:,} {name}" for name, n in sorted(found.counts.items()))
    click.echo(f"  events    {counts_text or 'none'}")
    click.echo(f"  waiting   {found.waiting:,} objects, {found.webhooks:,} webhooks")
    click.echo(f"  swept     {_moment(row.swept_at)}, {row.swept_added:,} added ever")
    if found.refunds.waiting:
        why = found.refunds.waits_because
        click.echo(
            f"  refunds   {found.refunds.waiting:,} under way{why and f': {why}'}"
        )
    if found.reconciled is not None:
        click.echo(f"  compared  {_line(found.reconciled)}")
    return trouble


def _plain(found: PaymentStatus, trouble: str) -> dict[str, Any]:
    row = found.row
    return {
        "name": "stripe", "account": row.account, "livemode": row.livemode,
        "state": row.state, "cursor": row.cursor, "polled_at": row.polled_at,
        "swept_at": row.swept_at, "swept_added": row.swept_added,
        "events": dict(found.counts), "waiting": found.waiting,
        "webhooks_waiting": found.webhooks, "uncleared": found.uncleared,
        "refunds_waiting": found.refunds.waiting,
        "refunds_refused": found.refunds.refused,
        "well": not trouble, "cause": trouble,
    }  # fmt: skip


def _show(number: int, found: Comparison) -> None:
    click.secho(
        f"reconciliation {number}: {_day(found.since)} to {_day(found.until)}",
        bold=True,
    )
    kinds = sorted({*found.stripe, *found.journal})
    for kind, currency in kinds:
        stripe_side = found.stripe.get((kind, currency))
        ours = found.journal.get((kind, currency))
        counts_text = "Stripe " + (
            f"{stripe_side.count:,}: {shown(stripe_side.net, currency)}"
            if stripe_side
            else "none"
        )
        if ours is not None:
            counts_text += f"; journal {ours.count:,}: {shown(ours.net, currency)}"
        click.echo(f"  {kind:<18} {counts_text}")
    waiting = f", {found.payouts_waiting} not complete yet" * bool(
        found.payouts_waiting
    )
    click.echo(f"  {found.payouts} payouts compared with their lines{waiting}")
    for each in found.differences[:DIFFERENCES_SHOWN]:
        click.secho(
            f"  {each.what}: {each.id} ({each.object}) "
            f"{shown(each.drift, each.currency)}",
            fg="red",
        )
    if len(found.differences) > DIFFERENCES_SHOWN:
        click.echo(f"  and {len(found.differences) - DIFFERENCES_SHOWN} more")
    if found.well:
        click.echo("all is equal, to the cent")
    elif found.missing:
        click.echo("look at what has no entry with --read, then compare again")
    else:
        click.echo(f"when you know why: chainfold stripe clear {number} --reason …")


def _line(each: Reconciliation) -> str:
    drift_ = each.found.get("drift", {})
    sums = ", ".join(shown(int(v), k) for k, v in sorted(drift_.items()))
    what = "all is equal" if each.well else f"drift {sums or 'none'}"
    if not each.well:
        what += f" in {each.found.get('difference_count', 0)} places"
    return (
        f"{each.id}  {each.ran_at:%Y-%m-%d %H:%M}  {_day(each.since)} to "
        f"{_day(each.until)}: {what}"
    )


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _seconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp())


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
