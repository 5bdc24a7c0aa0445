"""The trial balance: what each account was debited and credited, as of a moment."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Numeric, cast, func, select

from db.books.chart import AccountChart
from db.books.days import last_day
from db.books.lines import sides
from db.declare.books import AccountType, LedgerAccount
from db.journal.head import read_head

ORDER = list(AccountType)


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """One account in one currency; amounts in minor units, none below zero.

    `balance` is what was debited less what was credited.
    """

    account: LedgerAccount
    currency: str
    debit: int
    credit: int

    @property
    def balance(self) -> int:
        """Return the balance: above zero where more was debited."""
        return self.debit - self.credit


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts with lines before a moment, over entries up to `through`.

    `before` is in seconds since 1970, and is not included.
    """

    before: int
    through: int
    rows: tuple[BalanceRow, ...]

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of its rows: what is kept when a period is closed."""
        lines = (
            f"{row.account.number},{row.currency},{row.debit},{row.credit}\n"
            for row in self.rows
        )
        return hashlib.sha256("".join(lines).encode()).digest()

    def totals(self) -> Iterator[tuple[str, int, int]]:
        """Yield currency, debits and credits, which are equal."""
        for currency in sorted({row.currency for row in self.rows}):
            own = [row for row in self.rows if row.currency == currency]
            yield currency, sum(r.debit for r in own), sum(r.credit for r in own)

    def as_json(self, chart: AccountChart) -> dict[str, Any]:
        """Return it with amounts as decimals in whole units of their currency."""
        return {
            "as_of": last_day(self.before),
            "through": self.through,
            "rows": [_row_as_json(row, chart) for row in self.rows],
            "totals": [
                {
                    "currency": currency,
                    "debit": chart.text(debit, currency),
                    "credit": chart.text(credit, currency),
                }
                for currency, debit, credit in self.totals()
            ],
        }


def read_trial_balance(
    connection: Connection,
    chart: AccountChart,
    before: int,
    *,
    by: str = "dated",
    through: int | None = None,
) -> TrialBalance:
    """Add up the lines before a moment; `by` is as in `db.books.lines.sides`.

    Without `through` all entries count that there are.
    """
    if through is None:
        head = read_head(connection)
        through = 0 if head is None else head.seq
    rows: list[BalanceRow] = []
    if chart.postings:
        found = sides(chart.postings, before=before, by=by, through=through)
        amount = cast(found.c.signed, Numeric)
        query = select(
            found.c.account,
            found.c.currency,
            func.sum(func.greatest(amount, 0)),
            func.sum(func.greatest(-amount, 0)),
        ).group_by(found.c.account, found.c.currency)
        rows = [
            BalanceRow(chart.accounts[number], currency, int(debit), int(credit))
            for number, currency, debit, credit in connection.execute(query)
        ]
    return TrialBalance(before, through, tuple(sorted(rows, key=_place)))


def _place(row: BalanceRow) -> tuple[int, str, str]:
    return ORDER.index(row.account.type), row.account.number, row.currency


def _row_as_json(row: BalanceRow, chart: AccountChart) -> dict[str, Any]:
    return {
        "account": row.account.number,
        "name": row.account.name,
        "type": row.account.type.value,
        "currency": row.currency,
        "debit": chart.text(row.debit, row.currency),
        "credit": chart.text(row.credit, row.currency),
        "balance": chart.text(row.balance, row.currency),
    }
