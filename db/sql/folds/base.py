"""The base of all folds in SQL: everything that the compiler asks of one."""

from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, FromClause, Table

from db.declare import Expression, Field, FieldKind, Fold
from db.declare.events import EventView
from db.declare.expressions import Constant
from db.declare.folds import Contribution
from db.sql.expressions import to_sql
from db.sql.types import sql_type

F = TypeVar("F", bound=Fold)
AT = "_at"  # ends the name of a column with a position


class SqlFold(Generic[F]):
    """One fold of a projection: its columns, and the SQL that fills them.

    `lift` folds new facts, `combine` adds what they fold to to a stored row. What a
    fold stores in other tables, or computes in Python, the modules of its own do.
    """

    nullable: ClassVar[bool] = True  # a row may have no value
    number: ClassVar[bool] = False  # a JSON number, for it counts
    in_python: ClassVar[bool] = False  # SQL gives the facts, Python the value
    goes_on: ClassVar[bool] = False  # `resume` makes its value from the stored one

    def __init__(self, fold: F) -> None:
        self.fold = fold
        self.name = fold.name

    def columns(self) -> list[Column[Any]]:
        """The stored columns, the visible one first."""
        return [Column(self.name, sql_type(self.fold.kind))]

    @property
    def kind(self) -> FieldKind:
        """The kind of the values that facts bring."""
        return self.fold.kind

    def value(
        self, view: EventView, value: Expression, column: Any
    ) -> ColumnElement[Any]:
        """The value that a fact of a view brings; `column` gives that of a field."""
        found = to_sql(value, column)
        return self.cast_to_kind(found)

    def cast_to_kind(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """The value in the type that all branches of the union share."""
        kind = sql_type(self.kind)
        return value if isinstance(value.type, type(kind)) else value.cast(kind)

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        """The aggregate of each stored column; `everywhere`: no arm lacks a value."""
        raise NotImplementedError

    def resume(self, rows: FromClause, stored: Table | None) -> list[Any]:
        """The columns after going on from the row stored for the key, if there is."""
        return [rows.c[column.name] for column in self.columns()]

    @property
    def merged(self) -> list[str]:
        """The columns that a merge writes."""
        return [column.name for column in self.columns()]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        """The columns of a stored row combined with those of a new one."""
        raise NotImplementedError

    # What readers see -------------------------------------------------------------

    def beside(self) -> dict[str, str]:
        """Other columns that readers see, which count something, with their meaning."""
        return {}

    def meaning(self) -> str:
        """`Sum(InvestmentMade.amount)`, and what narrows it."""
        parts = [self.meaning_of(each) for each in self.fold.contributions]
        return f"{type(self.fold).__name__}({', '.join(dict.fromkeys(parts))})"

    def meaning_of(self, contribution: Contribution) -> str:
        """The input of the fold from one view of an event."""
        view = contribution.view
        part = self.meaning_of_value(view.event.spec.name, contribution.value)
        if view.condition is not None:
            part += f" where {view.condition.describe()}"
        part = part.replace(f"{view.event.spec.id}.", f"{view.event.spec.name}.")
        return part.replace("\\x00", "")  # a bytes32 that holds a word

    def meaning_of_value(self, event: str, value: Expression) -> str:
        """A value as documentation has it."""
        described = value.describe()
        return f"{event}: {described}" if isinstance(value, Constant) else described

    @property
    def field(self) -> Field:
        """The field whose type readers see."""
        return self.fold.field
