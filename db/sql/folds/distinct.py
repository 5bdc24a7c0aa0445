"""`CountDistinct`: a count, and the values that it has seen in a table beside the rows.

The table is `db.sql.columns.member_table`; `db.sql.merge` adds to it, `db.sql.verify`
compares it.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    LargeBinary,
    Text,
    cast,
    func,
)

from db.declare import CountDistinct, FieldKind
from db.sql.folds.base import SqlFold


class CountDistinctFold(SqlFold[CountDistinct]):
    """The number of different values."""

    nullable = False
    number = True

    @property
    def kind(self) -> FieldKind:
        return self.fold.member.kind

    def columns(self) -> list[Column[Any]]:
        return [Column(self.name, BigInteger, nullable=False, server_default="0")]

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        return [func.count(facts.c[f"v_{self.name}"].distinct()).label(self.name)]

    @property
    def merged(self) -> list[str]:
        return []  # how many are new, the table of values knows

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        return {}


def is_digested(fold: CountDistinct) -> bool:
    """Whether its values may be longer than an index takes: their SHA-256 is kept."""
    field = fold.member
    return field.kind in (FieldKind.TEXT, FieldKind.JSON) or (
        field.kind is FieldKind.BYTES and field.size is None
    )


def member_value(fold: CountDistinct, facts: FromClause) -> ColumnElement[Any]:
    """A value to be counted, as the table of values holds it."""
    value: ColumnElement[Any] = facts.c[f"v_{fold.name}"]
    if not is_digested(fold):
        return value
    if fold.member.kind is not FieldKind.BYTES:
        value = func.convert_to(cast(value, Text), "UTF8")
    return func.sha256(value, type_=LargeBinary)
