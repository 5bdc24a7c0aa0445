"""`Stage` and `Replay`: folds that depend on the order of the facts.

A stage is run by a function of the database over its moves in order, from the stored
state on. The facts of a replay are gathered in order, and Python reduces them
(`db.sql.replay`).
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Integer,
    Table,
    Text,
    case,
    cast,
    func,
    literal,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from db.declare import Expression, Replay, Stage
from db.declare.events import EventView
from db.sql.folds.base import AT, F, SqlFold
from db.sql.types import raw, sql_type


class _InOrder(SqlFold[F]):
    """Shared by both: the facts of a key as a list, and the position of the last."""

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        value = facts.c[f"v_{self.name}"]
        present = value.is_not(None)
        history: Any = self.gather(value, facts.c.position)
        at: Any = func.max(facts.c.position)
        return [
            history.filter(present).label(self.name),
            at.filter(present).label(self.name + AT),
        ]

    def gather(self, value: Any, position: Any) -> ColumnElement[Any]:
        """The aggregate of the values, in order."""
        raise NotImplementedError


class StageFold(_InOrder[Stage]):
    """The state, how many moves were refused, and the position of the last move."""

    nullable = False
    goes_on = True

    @property
    def refused(self) -> str:
        """The name of the column that counts moves which were not legal."""
        return f"{self.name}_refused"

    def columns(self) -> list[Column[Any]]:
        return [
            Column(self.name, Text, nullable=False, server_default=""),
            Column(self.refused, BigInteger, nullable=False, server_default="0"),
            Column(self.name + AT, BigInteger),
        ]

    def gather(self, value: Any, position: Any) -> ColumnElement[Any]:
        # Of one fact's moves, the one that was written first.
        tag = cast(value, Integer)
        return func.array_agg(aggregate_order_by(value, position, tag))

    def resume(self, rows: FromClause, stored: Table | None) -> list[Any]:
        start: ColumnElement[Any] = literal("")
        if stored is not None:
            start = func.coalesce(stored.c[self.name], "")
        moved: Any = func.control.stage_fold(
            rows.c[self.name],
            start,
            literal(self.fold.table, type_=JSONB()),
            type_=ARRAY(Text),
        )
        return [
            moved[1].label(self.name),
            cast(moved[2], BigInteger).label(self.refused),
            rows.c[self.name + AT],
        ]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        name, at = self.name, self.name + AT
        return {
            name: case((new[at].is_not(None), new[name]), else_=old[name]),
            self.refused: old[self.refused] + new[self.refused],
            at: func.greatest(old[at], new[at]),
        }

    def beside(self) -> dict[str, str]:
        return {self.refused: f"how many moves of {self.name} were not legal"}

    def meaning(self) -> str:
        states = dict.fromkeys(target for _, _, target in self.fold.moves)
        events = dict.fromkeys(
            each.view.event.spec.name for each in self.fold.contributions
        )
        return f"one of {', '.join(states)}; moved by {', '.join(events)}"


class ReplayFold(_InOrder[Replay]):
    """The state of a Python reducer, and the position of the last fact."""

    in_python = True

    def columns(self) -> list[Column[Any]]:
        state = Column(self.name, sql_type(self.fold.kind))
        return [state, Column(self.name + AT, BigInteger)]

    def value(
        self, view: EventView, value: Expression, column: Any
    ) -> ColumnElement[Any]:
        """The fact as a JSON object."""
        pairs: list[Any] = [literal("event"), literal(view.event.spec.name)]
        fields = view.event.spec.fields
        for name in ("position", "block_time", *fields):
            found = column(view.__getattr__(name))
            if name in fields:
                found = raw(fields[name], found)
            pairs += [literal(name), found]
        return func.jsonb_build_object(*pairs, type_=JSONB())

    def gather(self, value: Any, position: Any) -> ColumnElement[Any]:
        return func.jsonb_agg(aggregate_order_by(value, position))

    @property
    def merged(self) -> list[str]:
        return [self.name + AT]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        at = self.name + AT
        return {at: func.greatest(old[at], new[at])}

    def meaning_of_value(self, event: str, value: Expression) -> str:
        return event
