"""The lines of the books as CSV, one row for each side of a posting."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from db.books.chart import AccountChart
from db.books.days import day_of
from db.books.lines import Span, lines, read_closes
from db.declare.books import LedgerAccount, Posting

COLUMNS = (
    "date", "effective", "booked", "entry", "account", "name", "text", "business",
    "reference", "currency", "debit", "credit",
)  # fmt: skip
CHUNK_ROWS = 2_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how spreadsheets begin a formula


def csv_lines(
    connection: Connection, chart: AccountChart, since: int, before: int
) -> Iterator[str]:
    """Yield CSV (RFC 4180) with a heading, by date and entry, some rows at a time.

    Lines are those dated from `since` to before `before`, in seconds since 1970.
    Amounts are decimals in whole units, one of debit and credit empty. A text that a
    spreadsheet would take for a formula has an apostrophe before it.
    """
    yield _csv([COLUMNS])
    if not chart.postings:
        return
    span = Span(since=since, before=before)
    found = lines(chart.postings, span, read_closes(connection)).subquery("lines")
    query = select(found).order_by(found.c.dated, found.c.seq, found.c.posting)
    streamed = connection.execution_options(stream_results=True).execute(query)
    for rows in streamed.partitions(CHUNK_ROWS):
        yield _csv([each for row in rows for each in _both(chart, row)])


def _both(chart: AccountChart, line: Any) -> Iterator[tuple[str, ...]]:
    """Yield the two rows of a line: first its posting's debit, then its credit."""
    posting, amount = chart.postings[line.posting], int(line.amount)
    yield _row(chart, line, posting, posting.debit, amount)
    yield _row(chart, line, posting, posting.credit, -amount)


def _row(
    chart: AccountChart,
    line: Any,
    posting: Posting,
    account: LedgerAccount,
    signed: int,
) -> tuple[str, ...]:
    amount = chart.text(abs(signed), line.currency)
    debit, credit = (amount, "") if signed > 0 else ("", amount)
    return (
        day_of(line.dated), _moment(line.effective), _moment(line.booked),
        str(line.seq), account.number, account.name, posting.text,
        _plain(line.business), _plain(line.reference), line.currency, debit, credit,
    )  # fmt: skip


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _csv(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
