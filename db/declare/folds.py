"""Folds: how the facts of a key become one value.

A *mergeable* fold can be added to: new facts are lifted to a value which is combined
with the stored one. A *replayed* fold depends on order: it is recomputed, in order of
position, for each key touched. Both give the same answer in any order of arrival.

| fold           | value                                             | kind      |
|----------------|---------------------------------------------------|-----------|
| Sum            | the sum, 0 without facts                          | mergeable |
| Count          | how many facts                                    | mergeable |
| CountDistinct  | how many different values                         | mergeable |
| Min, Max       | the least, the greatest value                     | mergeable |
| Top            | the n greatest values, the greatest first         | mergeable |
| First, Latest  | the value at the lowest, the highest position     | mergeable |
| Stage          | the state of a machine moved by legal moves only  | replayed  |
| Replay         | whatever a pure Python reducer returns            | replayed  |
| Average        | the sum by the number of facts, rounded to zero   | of both   |

A value may come from several events: `Latest(a.x, b.y)`, and may be a constant or an
expression: `Latest({Registered: True, Deactivated: False})`, `Sum(a.x, -b.y)`.
`where=` narrows the facts that count. Of two values that one fact brings (an event read
under two keys), `First` keeps the least and `Latest` the greatest; a `Stage` takes its
moves in the order they are written. `price = Average(e.Sold.price)` keeps the exact sum
and number beside it, as `price_sum` and `price_count`.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from db.declare.errors import DeclarationError
from db.declare.events import Event, EventView, FieldRef
from db.declare.expressions import Binary, Constant, Expression, as_expression
from db.declare.fields import Field, FieldKind, Int, Json, Text, Uint
from db.declare.meanings import Time
from db.declare.values import common_field

TOP_MOST = 100  # values of a Top, which every merge sorts
Reducer = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """The input that the facts of one view of an event give to a fold."""

    view: EventView
    value: Expression

    def describe(self) -> list[Any]:
        """A canonical form for fingerprints."""
        return [list(map(str, self.view.identity())), self.value.describe()]


class Fold(Expression):
    """The base of all folds; as an expression, a leaf of row expressions."""

    replayed = False

    def __init__(self, *sources: Any, where: Expression | None = None) -> None:
        self.name = ""
        self.contributions: tuple[Contribution, ...] = tuple(
            contribution
            for source in sources
            for contribution in self._contributions(source, where)
        )
        if not self.contributions:
            raise DeclarationError(
                type(self).__name__, "it folds nothing", "name an event or a field"
            )

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def field(self) -> Field:
        """The field whose type the fold's value has."""
        return common_field([c.value for c in self.contributions])

    @property
    def kind(self) -> FieldKind:
        """The storage of the folded value."""
        return self.field.kind

    def describe(self) -> str:
        return self.name

    def definition(self) -> list[Any]:
        """Describe all that the stored value depends on, for fingerprints."""
        return [type(self).__name__, *(c.describe() for c in self.contributions)]

    def _contributions(
        self, source: Any, where: Expression | None
    ) -> list[Contribution]:
        if isinstance(source, Mapping):
            pairs = [(_view(event), as_value(value)) for event, value in source.items()]
        else:
            pairs = [(_view(source), self._value(source))]
        return [
            Contribution(view if where is None else view.only(where), value)
            for view, value in pairs
        ]

    def _value(self, source: Any) -> Expression:
        if isinstance(source, Expression):
            return source
        raise DeclarationError(
            type(self).__name__,
            f"{source!r} has no value",
            "name a field, as in Event.amount, or give {Event: value}",
        )


class Sum(Fold):
    """The sum; exact, of any size."""

    @property
    def field(self) -> Field:
        meaning = super().field.meaning
        return Int(meaning=None if isinstance(meaning, Time) else meaning)

    @property
    def kind(self) -> FieldKind:
        return FieldKind.NUMERIC


class Count(Fold):
    """The number of facts."""

    @property
    def field(self) -> Field:
        return Uint(63)

    @property
    def kind(self) -> FieldKind:
        return FieldKind.BIGINT

    def _value(self, source: Any) -> Expression:
        return Constant(1)


class Average(Binary):
    """The sum divided by the number of facts: a row expression over both.

    Their columns are `<name>_sum` and `<name>_count`, exact and of any size. Without
    facts it has no value.
    """

    def __init__(self, *sources: Any, where: Expression | None = None) -> None:
        total = Sum(*sources, where=where)
        views = [_with_value(each) for each in total.contributions]
        super().__init__("//", total, Count(*views))

    def name_folds(self, name: str) -> dict[str, Fold]:
        """Name the folds that it is made of; by name."""
        assert isinstance(self.left, Fold) and isinstance(self.right, Fold)  # noqa: PT018
        self.left.name, self.right.name = f"{name}_sum", f"{name}_count"
        return {self.left.name: self.left, self.right.name: self.right}


class CountDistinct(Fold):
    """The number of different values, which are kept in a table beside the rows."""

    @property
    def field(self) -> Field:
        return Uint(63)

    @property
    def kind(self) -> FieldKind:
        return FieldKind.BIGINT

    @property
    def member(self) -> Field:
        """The field of the values counted."""
        return common_field([c.value for c in self.contributions])


class Min(Fold):
    """The least value."""


class Max(Fold):
    """The greatest value."""


class Top(Fold):
    """The greatest values, the greatest first: `Top(5, e.Sold.price)`.

    A JSON list of decimal strings, as they are stored whatever they mean; of equal
    values each counts.
    """

    def __init__(
        self, number: int, *sources: Any, where: Expression | None = None
    ) -> None:
        if type(number) is not int or not 1 <= number <= TOP_MOST:
            raise DeclarationError(
                "Top", f"{number!r} is no number of values", f"write 1 to {TOP_MOST}"
            )
        self.number = number
        super().__init__(*sources, where=where)

    @property
    def field(self) -> Field:
        return Json()

    def definition(self) -> list[Any]:
        return [*super().definition(), self.number]


class First(Fold):
    """The value at the lowest position."""


class Latest(Fold):
    """The value at the highest position."""


class Stage(Fold):
    """A state machine: each move is `(from states, event, to state)`.

    The empty string is the state before the first fact. A move that is not legal from
    the current state is counted in `<name>_refused` and changes nothing.
    """

    replayed = True

    def __init__(self, *moves: tuple[list[str], Any, str]) -> None:
        self.moves = moves
        _check_origins(moves)
        views: dict[Any, EventView] = {}
        for _, source, _ in moves:
            view = _view(source)
            views.setdefault(view.identity(), view)
        super().__init__({view: str(tag) for tag, view in enumerate(views.values())})
        order = list(views)
        self.table: dict[str, dict[str, str]] = {}
        for origins, source, target in moves:
            tag = str(order.index(_view(source).identity()))
            for origin in origins:
                if tag in self.table.setdefault(origin, {}):
                    raise DeclarationError(
                        "Stage",
                        f"two moves from {origin!r} on {_view(source).event.spec.name}",
                        "keep one of them",
                    )
                self.table[origin][tag] = target

    @property
    def field(self) -> Field:
        return Text()

    @property
    def kind(self) -> FieldKind:
        return FieldKind.TEXT

    def definition(self) -> list[Any]:
        return [*super().definition(), self.table]


class Replay(Fold):
    """A pure function `(state, fact) -> state`, run over the facts in order.

    The state must be made of JSON values, and is None before the first fact; a fact
    has the event's fields as attributes, with `event` (the class's name), `position`
    and `block_time`; bytes are `0x…` text. The function's source is part of the
    fingerprint, so changing it rebuilds the projection.
    """

    replayed = True

    def __init__(self, reducer: Reducer, *events: Any) -> None:
        self.reducer = reducer
        super().__init__({_view(event): "" for event in events})

    @property
    def field(self) -> Field:
        return Json()

    @property
    def kind(self) -> FieldKind:
        return FieldKind.JSON

    def definition(self) -> list[Any]:
        source = inspect.getsource(self.reducer)
        return [*super().definition(), hashlib.sha256(source.encode()).hexdigest()]


def _with_value(contribution: Contribution) -> EventView:
    """The view without the facts that bring no value: a division by zero has none."""
    value = contribution.value
    if "//" in value.describe():
        return contribution.view.only(value == value)
    return contribution.view


def _check_origins(moves: tuple[tuple[list[str], Any, str], ...]) -> None:
    reached = {"", *(target for _, _, target in moves)}
    for origins, _, target in moves:
        if isinstance(origins, str):
            raise DeclarationError(
                f"Stage: the move to {target!r}",
                "the states it starts from are not a list",
                f"write [{origins!r}]",
            )
        for origin in origins:
            if origin not in reached:
                raise DeclarationError(
                    f"Stage: the move to {target!r}",
                    f"no move leads to the state {origin!r} it starts from",
                    f"use one of {', '.join(map(repr, sorted(reached)))}",
                )


def as_value(value: Any) -> Expression:
    """A constant or an expression, from the right side of `{Event: value}`."""
    try:
        return as_expression(value)
    except TypeError:
        raise DeclarationError(
            repr(value),
            "it cannot be a folded value",
            "give a whole number, a text, bytes, True, False or an expression",
        ) from None


def _view(source: Any) -> EventView:
    """The one event view that an argument of a fold reads."""
    if isinstance(source, EventView):
        return source
    if isinstance(source, type) and issubclass(source, Event):
        return EventView(source)
    if isinstance(source, Expression):
        views = [leaf.view for leaf in source.leaves() if isinstance(leaf, FieldRef)]
        if views and len({view.identity() for view in views}) == 1:
            return views[0]
        raise DeclarationError(
            source.describe(),
            "one value must come from one event",
            "give the fold one argument for each event",
        )
    raise DeclarationError(
        repr(source),
        "it is not an event, a field of an event, or an expression of its fields",
        "name an Event class or one of its fields",
    )
