"""`Top`: the greatest values as a JSON list of decimal texts, the greatest first."""

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Numeric,
    Text,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from db.declare import FieldKind, Top
from db.sql.folds.base import SqlFold


class TopFold(SqlFold[Top]):
    """The n greatest values; of equal ones, each counts."""

    nullable = False

    @property
    def kind(self) -> FieldKind:
        return FieldKind.NUMERIC

    def columns(self) -> list[Column[Any]]:
        return [Column(self.name, JSONB, nullable=False, server_default="[]")]

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        value = facts.c[f"v_{self.name}"]
        listed = func.array_agg(aggregate_order_by(cast(value, Text), value.desc()))
        present = listed.filter(value.is_not(None))
        return [self._first_of(func.to_jsonb(present)).label(self.name)]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        both = old[self.name].op("||")(new[self.name])
        each = func.jsonb_array_elements_text(both).column_valued("each")
        listed = func.jsonb_agg(aggregate_order_by(each, cast(each, Numeric).desc()))
        return {self.name: select(self._first_of(listed)).scalar_subquery()}

    def _first_of(self, listed: ColumnElement[Any]) -> ColumnElement[Any]:
        """The first n of a JSON list, and none of no list."""
        path: ColumnElement[Any] = literal_column(f"'$[0 to {self.fold.number - 1}]'")
        nothing: ColumnElement[Any] = literal_column("'[]'")
        first = func.jsonb_path_query_array(listed, path, type_=JSONB())
        return func.coalesce(first, cast(nothing, JSONB))

    def meaning(self) -> str:
        return f"the {self.fold.number} greatest of {super().meaning()[3:]}"
