"""Stripe's balance as the journal has it: one line for each balance transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, literal, select

from db.declare import Entry
from db.payments.stripe import entries as e
from db.sql.columns import fact_table

# The entries that have a balance transaction, by what it is for.
KINDS = {
    "payments": e.PaymentCaptured,
    "late fees": e.PaymentFeeKnown,
    "refunds": e.RefundMade,
    "refunds returned": e.RefundFailed,
    "disputes": e.DisputeFundsMoved,
    "payouts": e.PayoutMade,
    "payouts returned": e.PayoutFailed,
}


@dataclass(frozen=True, slots=True)
class Line:
    """A balance transaction as an entry has it; amounts in minor units."""

    id: str
    kind: str
    currency: str
    settled: int
    fee: int
    net: int


def lines_of(connection: Connection, ids: Collection[str]) -> dict[str, Line]:
    """The lines of some balance transactions; those without an entry are left out."""
    found: dict[str, Line] = {}
    for kind, entry in KINDS.items():
        table = fact_table(entry)
        query = _line(kind, entry).where(table.c.balance_transaction.in_(list(ids)))
        found |= {row.id: Line(*row) for row in connection.execute(query)}
    return found


def lines_said(connection: Connection, *, since: int, until: int) -> dict[str, Line]:
    """The lines of entries that were appended between two moments, both included."""
    found: dict[str, Line] = {}
    for kind, entry in KINDS.items():
        table = fact_table(entry)
        query = _line(kind, entry).where(
            table.c.block_time.between(since, until), table.c.balance_transaction != ""
        )
        found |= {row.id: Line(*row) for row in connection.execute(query)}
    return found


def _line(kind: str, entry: type[Entry]) -> Select[Any]:
    table = fact_table(entry)
    name = "currency" if "settlement_currency" not in table.c else "settlement_currency"
    return select(
        table.c.balance_transaction.label("id"), literal(kind), table.c[name],
        table.c.settled, table.c.fee, table.c.net,
    )  # fmt: skip
