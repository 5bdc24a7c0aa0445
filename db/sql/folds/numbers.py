"""Folds that add up or compare: one column each, combined by an operator."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Numeric,
    collate,
    func,
    literal_column,
)

from db.declare import Count, Expression, FieldKind, Max, Min, Sum
from db.declare.events import EventView
from db.sql.folds.base import F, SqlFold


class SumFold(SqlFold[Sum]):
    """The sum, as a numeric without bounds."""

    nullable = False

    def columns(self) -> list[Column[Any]]:
        return [Column(self.name, Numeric(), nullable=False, server_default="0")]

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        value = facts.c[f"v_{self.name}"]
        return [func.coalesce(func.sum(value), 0).label(self.name)]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        return {self.name: old[self.name] + new[self.name]}


class CountFold(SqlFold[Count]):
    """The number of facts; each arm brings a 1."""

    nullable = False
    number = True

    def columns(self) -> list[Column[Any]]:
        return [Column(self.name, BigInteger, nullable=False, server_default="0")]

    def value(
        self, view: EventView, value: Expression, column: Any
    ) -> ColumnElement[Any]:
        return literal_column("1")

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        return [func.count(facts.c[f"v_{self.name}"]).label(self.name)]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        return {self.name: old[self.name] + new[self.name]}

    def meaning_of_value(self, event: str, value: Expression) -> str:
        return event


class _Extreme(SqlFold[F]):
    """Shared by the least and the greatest value."""

    aggregate = "min"
    choice = "least"

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        value = self._ordered(facts.c[f"v_{self.name}"])
        return [getattr(func, self.aggregate)(value).label(self.name)]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        choose = getattr(func, self.choice)
        return {self.name: choose(self._ordered(old[self.name]), new[self.name])}

    def _ordered(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """Text by code points, whatever the database's order."""
        return collate(value, "C") if self.fold.kind is FieldKind.TEXT else value


class MinFold(_Extreme[Min]):
    """The least value."""


class MaxFold(_Extreme[Max]):
    """The greatest value."""

    aggregate = "max"
    choice = "greatest"
