"""The lines of the books, as SQL over the facts of entries.

A line has two dates. It is *effective* when what the entry is about happened, and it is
*booked* when the entry was appended. It counts to the period that it is *dated* in: the
moment that it is effective, unless that period was closed before it was booked; then it
is dated at the beginning of the one that was open. So what was closed stays as it was.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    Subquery,
    Text,
    case,
    cast,
    column,
    func,
    literal,
    select,
    true,
    union_all,
    values,
)
from sqlalchemy.sql.selectable import Select

from db.books.periods.entries import BooksClosed
from db.declare.books import Currency, Posting
from db.declare.events import FieldRef
from db.position import ORDINAL_BITS
from db.sql.columns import fact_table
from db.sql.expressions import to_sql
from db.sql.fold import field_column, view_condition

LAST = 1 << 62  # later than any moment


def posted(postings: Sequence[Posting]) -> Subquery:
    """All entries as postings read them, with a number for each posting.

    Columns: seq and transaction of the entry, posting, the numbers of the accounts
    debit and credit, amount, currency, effective, booked, reference, business, dated.
    """
    arms = union_all(*map(_arm, range(len(postings)), postings)).subquery("arms")
    closed = fact_table(BooksClosed)
    until = (
        select(func.max(closed.c.until))
        .where(_seq(closed.c.position) < arms.c.seq)
        .scalar_subquery()
    )
    dated = func.greatest(arms.c.effective, until, type_=BigInteger)
    return select(*arms.c, dated.label("dated")).subquery("posted")


def sides(
    postings: Sequence[Posting],
    *,
    since: int = 0,
    before: int = LAST,
    by: str = "dated",
    through: int | None = None,
) -> Subquery:
    """Both lines of each posting between two moments: an account, a signed amount.

    An amount above zero debits its account. `by` is the date that counts: `dated` or
    `effective`; the second moment is not included. With `through` only entries up to
    that number count.
    """
    found = posted(postings)
    conditions = [found.c[by] >= since, found.c[by] < before]
    if through is not None:
        conditions.append(found.c.seq <= through)
    side = values(column("side", BigInteger), name="s").data([(1,), (-1,)])
    account = case((side.c.side == 1, found.c.debit), else_=found.c.credit)
    return (
        select(
            *found.c,
            side.c.side,
            account.label("account"),
            (found.c.amount * side.c.side).label("signed"),
        )
        .select_from(found.join(side, true()))
        .where(*conditions)
        .subquery("sides")
    )


def _arm(number: int, posting: Posting) -> Select[Any]:
    """Return what one posting reads."""
    table = fact_table(posting.event)
    amount = cast(to_sql(posting.amount, field_column), Numeric)
    effective = _field(posting.effective, cast(table.c.block_time, BigInteger))
    return select(
        _seq(table.c.position).label("seq"),
        table.c.transaction,
        literal(number).label("posting"),
        literal(posting.debit.number).label("debit"),
        literal(posting.credit.number).label("credit"),
        amount.label("amount"),
        _currency(posting.currency).label("currency"),
        effective.label("effective"),
        table.c.block_time.label("booked"),
        _field(posting.reference, literal("")).label("reference"),
        _field(posting.business, literal("")).label("business"),
    ).where(amount != 0, *view_condition(posting.view))


def _currency(currency: FieldRef | Currency) -> ColumnElement[Any]:
    if isinstance(currency, Currency):
        return literal(currency.code)
    return field_column(currency)


def _field(ref: FieldRef | None, otherwise: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column of a field, as text where it is none of time."""
    if ref is None:
        return otherwise
    found = field_column(ref)
    return found if isinstance(otherwise.type, BigInteger) else cast(found, Text)


def _seq(position: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the number of the entry at a position."""
    return position.op(">>")(ORDINAL_BITS)
