"""The lines of the books, as SQL over the facts of entries.

A line has two dates. It is *effective* when what the entry is about happened, and it is
*booked* when the entry was appended. It counts to the period that it is *dated* in: the
moment that it is effective, unless that period was closed before it was booked; then it
is dated at the beginning of the one that was open. So what was closed stays as it was.

Periods are closed one after the other. So a line is dated before a moment exactly if it
is effective before it, and booked before the first close that reaches the moment: this
needs no look at the closes for each line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Text,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import CompoundSelect

from db.books.periods.entries import BooksClosed
from db.declare.books import Currency, Posting
from db.declare.events import FieldRef
from db.position import MAX_HEIGHT, ORDINAL_BITS, height_of
from db.sql.columns import fact_table
from db.sql.expressions import to_sql
from db.sql.fold import field_column, view_condition

LAST = 1 << 62  # later than any moment
DATED, EFFECTIVE = "dated", "effective"


@dataclass(frozen=True, slots=True)
class Close:
    """The entry `seq` that closed all before `until`, in seconds since 1970."""

    seq: int
    until: int
    closed_at: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """The lines from one moment to before another, by entries up to `through`.

    `by` is the date that counts: `DATED` or `EFFECTIVE`.
    """

    before: int = LAST
    since: int = 0
    by: str = DATED
    through: int = MAX_HEIGHT


def read_closes(connection: Connection) -> list[Close]:
    """Every close, in order."""
    table = fact_table(BooksClosed)
    query = select(
        table.c.position, table.c.until, table.c.block_time, table.c.digest
    ).order_by(table.c.position)
    return [
        Close(height_of(position), int(until), int(at), bytes(digest))
        for position, until, at, digest in connection.execute(query)
    ]


def sums(
    postings: Sequence[Posting], span: Span, closes: Sequence[Close]
) -> CompoundSelect[Any]:
    """Add up each posting by currency: what is above zero, and what is below it.

    Columns: posting (its number), currency, and two sums, none below zero.
    """
    arms = []
    for number, posting in enumerate(postings):
        amount = _amount(posting)
        currency = _currency(posting.currency)
        found = select(
            literal(number).label("posting"),
            currency.label("currency"),
            func.sum(func.greatest(amount, 0)),
            func.sum(func.greatest(-amount, 0)),
        ).where(*_conditions(posting, span, closes))
        is_one = isinstance(posting.currency, Currency)
        grouped = found if is_one else found.group_by(currency)
        arms.append(grouped.having(func.count() > 0))
    return union_all(*arms)


def lines(
    postings: Sequence[Posting], span: Span, closes: Sequence[Close]
) -> CompoundSelect[Any]:
    """Every line of a span, in no order: one for each entry that a posting reads.

    Columns: seq of the entry, posting (its number), amount, currency, effective,
    booked, reference, business, dated.
    """
    arms = []
    for number, posting in enumerate(postings):
        table = fact_table(posting.event)
        seq, effective = _seq(table.c.position), _effective(posting)
        arms.append(
            select(
                seq.label("seq"),
                literal(number).label("posting"),
                _amount(posting).label("amount"),
                _currency(posting.currency).label("currency"),
                effective.label("effective"),
                table.c.block_time.label("booked"),
                _text(posting.reference).label("reference"),
                _text(posting.business).label("business"),
                _dated(seq, effective, closes).label("dated"),
            ).where(*_conditions(posting, span, closes))
        )
    return union_all(*arms)


def _conditions(
    posting: Posting, span: Span, closes: Sequence[Close]
) -> list[ColumnElement[bool]]:
    """Narrow to the entries that a posting reads, in a span."""
    seq = _seq(fact_table(posting.event).c.position)
    effective = _effective(posting)
    last, after = span.through, None
    if span.by == DATED:
        last = min([last, *(each.seq for each in closes if each.until >= span.before)])
        late = [each.seq for each in closes if each.until >= span.since]
        after = min(late, default=None)
    begun = effective >= span.since
    return [
        _amount(posting) != 0,
        *view_condition(posting.view),
        effective < span.before,
        seq <= last,
        begun if after is None else or_(begun, seq > after),
    ]


def _dated(
    seq: ColumnElement[Any], effective: ColumnElement[Any], closes: Sequence[Close]
) -> ColumnElement[Any]:
    if not closes:
        return effective
    open_from = case(
        *((seq > each.seq, each.until) for each in reversed(closes)), else_=0
    )
    return func.greatest(effective, open_from, type_=BigInteger)


def _amount(posting: Posting) -> ColumnElement[Any]:
    return to_sql(posting.amount, field_column)


def _effective(posting: Posting) -> ColumnElement[Any]:
    if posting.effective is None:
        return fact_table(posting.event).c.block_time
    return field_column(posting.effective)


def _currency(currency: FieldRef | Currency) -> ColumnElement[Any]:
    if isinstance(currency, Currency):
        return literal(currency.code)
    return field_column(currency)


def _text(ref: FieldRef | None) -> ColumnElement[Any]:
    return literal("") if ref is None else cast(field_column(ref), Text)


def _seq(position: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the number of the entry at a position."""
    return position.op(">>")(ORDINAL_BITS)
