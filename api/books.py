"""The books over HTTP, for staff.

    GET  /api/v1/books/trial-balance?as_of=2026-11-30&by=effective
    GET  /api/v1/books/lines.csv?since=2026-11-01&until=2026-11-30
    GET  /api/v1/books/periods
    POST /api/v1/books/periods/2026-10-31

Days are in UTC and are included. Amounts are decimals in whole units of their currency.
The last route closes the books up to the end of a day.
"""

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from sqlalchemy import Connection

from api.auth.context import AuthContext
from api.auth.principal import current_principal, require_role
from api.auth.routes import SIGNED_IN, add_route, shape, text_parameter
from api.errors import Problem
from api.json_answers import json_answer
from api.parameters import bad_parameter, check_names
from api.schemas import Schema
from api.service import PREFIX, Service
from api.writes import actor_of
from db.books.chart import AccountChart
from db.books.closing import CannotClose, Period, close_period, closed_periods
from db.books.days import day_of, end_of, start_of
from db.books.export import csv_lines
from db.books.lines import DATED, EFFECTIVE, Span
from db.books.trial_balance import TrialBalance, read_trial_balance
from db.declare.readers import STAFF
from db.declare.reports import Figure, ReportPage, ReportTable, Tone
from db.declare.roles import Role
from db.reads import read

DATES = (DATED, EFFECTIVE)
MEMORY_BYTES_MAX = 1 << 20  # of CSV; more goes to a temporary file
CHUNK_BYTES = 64 << 10
_DECIMAL: Schema = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
_DAY: Schema = {"type": "string", "format": "date"}
_BALANCE = shape(
    as_of=_DAY, through="integer",
    rows={
        "type": "array",
        "items": shape(
            account="string", name="string", type="string", currency="string",
            debit=_DECIMAL, credit=_DECIMAL, balance=_DECIMAL,
        ),
    },
    totals={
        "type": "array",
        "items": shape(currency="string", debit=_DECIMAL, credit=_DECIMAL),
    },
)  # fmt: skip
_PERIOD = shape(
    last_day=_DAY, closed_at="string", entry="integer", digest="string",
    as_it_was="boolean",
)  # fmt: skip


class Books:
    """The books of a deployment, with what is needed to read and to close them."""

    def __init__(self, context: AuthContext) -> None:
        self._context = context
        self._service = context.service
        self._chart = AccountChart(context.service.registry.postings)

    def show_trial_balance(self) -> Response:
        """Add up each account as of the end of a day, by default today.

        `by` is the date that counts: `dated`, which leaves closed periods as they are,
        or `effective`, when things happened.
        """
        self._look("as_of", "by")
        by = request.args.get("by", DATED)
        if by not in DATES:
            raise bad_parameter("by", f"It is one of {', '.join(DATES)}.")
        before = end_of(_day("as_of") or _today())
        found = read(
            self._service.engine,
            lambda c: read_trial_balance(c, self._chart, Span(before, by=by)),
        )
        return json_answer({"data": found.as_json(self._chart)})

    def export_lines(self) -> Response:
        """Export the lines dated from one day to another as CSV, for accountants."""
        self._look("since", "until")
        since, until = _day("since"), _day("until") or _today()
        name = f"books-{since or 'all'}-{until}.csv"
        first = 0 if since is None else start_of(since)
        # A cursor in Postgres, which keeps rows out of memory, needs a transaction.
        engine = self._service.engine.execution_options(
            isolation_level="REPEATABLE READ"
        )
        return Response(
            read(engine, lambda c: _whole_csv(c, self._chart, first, end_of(until))),
            mimetype="text/csv",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def list_periods(self) -> Response:
        """List closed periods, and whether each still is as it was when closed."""
        self._look()
        found = read(
            self._service.engine, lambda c: list(closed_periods(c, self._chart))
        )
        return json_answer({"data": [_period_as_json(each) for each in found]})

    def close_books(self, day: str) -> Response:
        """Close the books up to the end of a day; what comes later is dated after it.

        The answer is the trial balance that was closed.
        """
        principal = current_principal(self._service)
        require_role(principal, Role.OPERATOR)
        wanted, now = _parsed("day", day), self._context.now()
        try:
            with self._context.begin() as connection:
                found = close_period(
                    connection, self._service.registry, wanted, actor_of(principal), now
                )
        except CannotClose as error:
            raise Problem("cannot_close", f"{error}.") from None
        return json_answer({"data": found.as_json(self._chart)}, status=201)

    def _look(self, *known: str) -> None:
        """Let staff alone look, with these parameters; raises a Problem."""
        require_role(current_principal(self._service), *STAFF)
        check_names(known)


def books_blueprint(context: AuthContext) -> Blueprint:
    """`/books`: the trial balance, lines as CSV, and closed periods."""
    books = Books(context)
    blueprint = Blueprint(
        "books", __name__, url_prefix=f"{PREFIX}/books",
        description="Double-entry books over the journal.",
    )  # fmt: skip
    add_route(
        blueprint, "/trial-balance", books.show_trial_balance, method="GET",
        summary="The trial balance", returns=shape(data=_BALANCE), security=SIGNED_IN,
        path=[_query("as_of", _DAY), _query("by", {"enum": list(DATES)})],
    )  # fmt: skip
    add_route(
        blueprint, "/lines.csv", books.export_lines, method="GET",
        summary="The lines of the books as CSV", security=SIGNED_IN,
        returns={"type": "string"}, media="text/csv",
        path=[_query("since", _DAY), _query("until", _DAY)],
    )  # fmt: skip
    periods = {"type": "array", "items": _PERIOD}
    add_route(
        blueprint, "/periods", books.list_periods, method="GET",
        summary="The closed periods", returns=shape(data=periods), security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "/periods/<day>", books.close_books, status=201,
        summary="Close a period", returns=shape(data=_BALANCE), security=SIGNED_IN,
        path=[text_parameter("day", "The last day of the period, as 2026-10-31.")],
    )  # fmt: skip
    return blueprint


def books_page(service: Service) -> ReportPage:
    """Return the page of the books in the console: the trial balance of today."""
    chart = AccountChart(service.registry.postings)
    before = end_of(_today())

    def ask(connection: Connection) -> tuple[TrialBalance, list[Period]]:
        balance = read_trial_balance(connection, chart, Span(before))
        return balance, list(closed_periods(connection, chart))

    balance, periods = read(service.engine, ask)
    changed = [each for each in periods if not each.as_it_was]
    shown = balance.as_json(chart)
    return ReportPage(
        "Books",
        figures=[
            Figure("as of", shown["as_of"], note="end of the day, UTC"),
            Figure("closed up to", periods[-1].last_day if periods else "never"),
            Figure(
                "closed periods", str(len(periods)),
                Tone.BAD if changed else Tone.PLAIN,
                f"{len(changed)} changed since" if changed else "",
            ),
        ],
        tables=[
            _table("Trial balance", shown["rows"], "account", "name", "type"),
            _table("Totals", shown["totals"]),
            ReportTable(
                "Closed periods",
                ("up to", "closed", "as it was"),
                [
                    (p.last_day, day_of(p.closed_at), "yes" if p.as_it_was else "no")
                    for p in reversed(periods)
                ],
            ),
        ],
    )  # fmt: skip


def _table(title: str, rows: list[dict[str, str]], *first: str) -> ReportTable:
    numbers = ("debit", "credit", *(("balance",) if first else ()))
    names = (*first, "currency", *numbers)
    cells = [tuple(row[name] for name in names) for row in rows]
    return ReportTable(title, names, cells, numbers)


def _whole_csv(
    connection: Connection, chart: AccountChart, since: int, before: int
) -> Iterator[bytes]:
    """Return CSV in chunks, after all of it was read: it is whole or there is none."""
    # It is closed when the answer has been sent, or is given up.
    file = tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX)  # noqa: SIM115
    for text in csv_lines(connection, chart, since, before):
        file.write(text.encode())
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        with file:
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")

    return chunks()


def _today() -> date:
    return datetime.now(UTC).date()


def _day(name: str) -> date | None:
    text = request.args.get(name)
    return None if text is None else _parsed(name, text)


def _parsed(name: str, text: str) -> date:
    """Return the day that a text names; raises the Problem `bad_parameter`."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year <= 9998:
        raise bad_parameter(name, "It is a day from 1970 on, as 2026-11-30.")
    return found


def _query(name: str, schema: Schema) -> Schema:
    return {"in": "query", "name": name, "schema": schema}


def _period_as_json(period: Period) -> dict[str, Any]:
    return {
        "last_day": period.last_day,
        "closed_at": f"{datetime.fromtimestamp(period.closed_at, UTC):%FT%TZ}",
        "entry": period.seq,
        "digest": f"0x{period.digest.hex()}",
        "as_it_was": period.as_it_was,
    }
