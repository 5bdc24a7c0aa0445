"""`books`: the trial balance, lines for accountants, and closing periods."""

import json
import sys
from datetime import UTC, date, datetime

import click

from db.books.chart import AccountChart
from db.books.closing import close_period, closed_periods
from db.books.days import day_of, end_of, start_of
from db.books.export import csv_lines
from db.books.lines import DATED, EFFECTIVE, Span
from db.books.trial_balance import TrialBalance, read_trial_balance
from ops.cli.context import CliState, at_terminal, pass_state
from ops.commanding import now
from ops.errors import OperationError

DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def books() -> None:
    """Add up the books, export their lines, and close periods."""


@books.command(name="balance")
@click.option("--as-of", "day", type=DAY, help="End of this day (UTC); default: today.")
@click.option("--effective", is_flag=True, help="By when things happened.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@pass_state
def books_balance(
    state: CliState, day: datetime | None, effective: bool, as_json: bool
) -> None:
    """Show the trial balance: what each account was debited and credited."""
    chart = AccountChart(state.registry.postings)
    before = end_of(_date(day) or now().date())
    with state.reading() as engine, engine.connect() as connection:
        by = EFFECTIVE if effective else DATED
        found = read_trial_balance(connection, chart, Span(before, by=by))
    if as_json:
        click.echo(json.dumps(found.as_json(chart)))
    else:
        _show(found, chart)


@books.command(name="export")
@click.option("--since", type=DAY, help="First day (UTC); default: the first line.")
@click.option("--until", type=DAY, help="Last day (UTC); default: today.")
@click.option(
    "--out",
    type=click.File("w", lazy=True),
    default="-",
    help="A file; default: what is printed.",
)
@pass_state
def books_export(
    state: CliState, since: datetime | None, until: datetime | None, out: click.File
) -> None:
    """Export lines as CSV: one row for each side of each posting."""
    first = _date(since)
    with state.reading() as engine, engine.connect() as connection:
        for text in csv_lines(
            connection,
            AccountChart(state.registry.postings),
            0 if first is None else start_of(first),
            end_of(_date(until) or now().date()),
        ):
            click.echo(text, file=out, nl=False)  # type: ignore[arg-type]


@books.command(name="close")
@click.argument("day", type=DAY)
@pass_state
def books_close(state: CliState, day: datetime) -> None:
    """Close the books up to the end of DAY (UTC); it cannot be undone.

    What comes to be known about the period later is dated after it.
    """
    chart = AccountChart(state.registry.postings)
    with state.database() as engine, engine.begin() as connection:
        found = close_period(
            connection, state.registry, day.date(), at_terminal(), now()
        )
    _show(found, chart)
    click.echo(f"closed up to {day:%Y-%m-%d}")


@books.command(name="check")
@pass_state
def books_check(state: CliState) -> None:
    """Compare closed periods with what was closed; exit 1 if one is another."""
    with state.reading() as engine, engine.connect() as connection:
        found = list(closed_periods(connection, AccountChart(state.registry.postings)))
    for each in found:
        said = "as it was" if each.as_it_was else "NOT as it was"
        click.echo(f"up to {each.last_day}, closed {day_of(each.closed_at)}: {said}")
    if not found:
        click.echo("no period was closed")
    sys.exit(0 if all(each.as_it_was for each in found) else 1)


def _date(given: datetime | None) -> date | None:
    if given is not None and given.replace(tzinfo=UTC).timestamp() < 0:
        raise OperationError("books begin in 1970: name a later day")
    return None if given is None else given.date()


def _show(found: TrialBalance, chart: AccountChart) -> None:
    shown = found.as_json(chart)
    click.echo(f"as of {shown['as_of']} (UTC), by entries up to {found.through}")
    if not found.rows:
        click.echo("nothing is posted yet")
        return
    form = "{account:5} {name:24} {currency:8} {debit:>18} {credit:>18} {balance:>18}"
    names = ("name", "currency", "debit", "credit", "balance")
    click.echo(form.format(account="no.", **{name: name for name in names}))
    for row in shown["rows"]:
        click.echo(form.format(**row))
    for row in shown["totals"]:
        click.echo(form.format(account="", name="total", balance="", **row))
