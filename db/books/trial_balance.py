"""The trial balance: what each account was debited and credited, as of a moment."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from db.books.chart import AccountChart
from db.books.days import last_day
from db.books.lines import Span, read_closes, sums
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
    connection: Connection, chart: AccountChart, span: Span
) -> TrialBalance:
    """Add up the lines of a span, which begins with the first line.

    Of later entries than those that there are now none counts.
    """
    head = read_head(connection)
    through = min(span.through, 0 if head is None else head.seq)
    rows: list[BalanceRow] = []
    if chart.postings:
        query = sums(
            chart.postings, replace(span, through=through), read_closes(connection)
        )
        found: dict[tuple[str, str], list[int]] = {}
        for number, currency, above, below in connection.execute(query):
            posting = chart.postings[number]
            for account, debit, credit in (
                (posting.debit, above, below), (posting.credit, below, above),
            ):  # fmt: skip
                both = found.setdefault((account.number, currency), [0, 0])
                both[0] += int(debit)
                both[1] += int(credit)
        rows = [
            BalanceRow(chart.accounts[number], currency, debit, credit)
            for (number, currency), (debit, credit) in found.items()
        ]
    return TrialBalance(span.before, through, tuple(sorted(rows, key=_place)))


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
