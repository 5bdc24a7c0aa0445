"""Expressions over fields of an event, or over folds of a row.

The same tree is evaluated in Python (`evaluate`) and compiled to SQL
(`db.sql.expressions`), so both obey SQL's rule for the unknown: arithmetic and
comparison with None give None. `//` truncates towards zero, as the EVM's SDIV does;
division by zero gives None.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from db.declare.errors import DeclarationError

Lookup = Callable[["Expression"], Any]


class Expression:
    """A node; leaves are field references, folds and constants."""

    # Comparison builds a node, so hashing and identity are by object.
    __hash__ = object.__hash__

    def __add__(self, other: Any) -> "Binary":
        return Binary("+", self, as_expression(other))

    def __radd__(self, other: Any) -> "Binary":
        return Binary("+", as_expression(other), self)

    def __sub__(self, other: Any) -> "Binary":
        return Binary("-", self, as_expression(other))

    def __rsub__(self, other: Any) -> "Binary":
        return Binary("-", as_expression(other), self)

    def __mul__(self, other: Any) -> "Binary":
        return Binary("*", self, as_expression(other))

    def __rmul__(self, other: Any) -> "Binary":
        return Binary("*", as_expression(other), self)

    def __floordiv__(self, other: Any) -> "Binary":
        return Binary("//", self, as_expression(other))

    def __truediv__(self, other: Any) -> NoReturn:
        raise DeclarationError(
            f"{self.describe()} / …",
            "values are whole numbers, which have no exact quotient",
            "write // for division that leaves the rest out",
        )

    __rtruediv__ = __truediv__

    def __neg__(self) -> "Binary":
        return Binary("-", Constant(0), self)

    def __lt__(self, other: Any) -> "Binary":
        return Binary("<", self, as_expression(other))

    def __le__(self, other: Any) -> "Binary":
        return Binary("<=", self, as_expression(other))

    def __gt__(self, other: Any) -> "Binary":
        return Binary(">", self, as_expression(other))

    def __ge__(self, other: Any) -> "Binary":
        return Binary(">=", self, as_expression(other))

    def __eq__(self, other: object) -> "Binary":  # type: ignore[override]
        return Binary("==", self, as_expression(other))

    def __ne__(self, other: object) -> "Binary":  # type: ignore[override]
        return Binary("!=", self, as_expression(other))

    def __and__(self, other: Any) -> "Binary":
        return Binary("and", self, as_expression(other))

    def __or__(self, other: Any) -> "Binary":
        return Binary("or", self, as_expression(other))

    def __bool__(self) -> bool:
        raise TypeError(
            "a declared expression has no truth value of its own: "
            "use & and | instead of `and` and `or`, and no chained comparisons"
        )

    def evaluate(self, lookup: Lookup) -> Any:
        """The value, with `lookup` giving the value of each leaf."""
        return lookup(self)

    def leaves(self) -> list["Expression"]:
        """Every leaf that is not a constant, left to right."""
        return [self]

    def describe(self) -> str:
        """A canonical text for fingerprints and documentation."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Expression):
    """A literal."""

    value: Any

    def evaluate(self, lookup: Lookup) -> Any:
        return self.value

    def leaves(self) -> list[Expression]:
        return []

    def describe(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expression):
    """Two operands and an operator."""

    operator: str
    left: Expression
    right: Expression

    def evaluate(self, lookup: Lookup) -> Any:
        return _apply(
            self.operator, self.left.evaluate(lookup), self.right.evaluate(lookup)
        )

    def leaves(self) -> list[Expression]:
        return self.left.leaves() + self.right.leaves()

    def describe(self) -> str:
        return f"({self.left.describe()} {self.operator} {self.right.describe()})"


COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
LOGIC = frozenset({"and", "or"})

_PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def as_expression(value: Any) -> Expression:
    """The value itself if it is an expression, else a constant."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, (int, bool, str, bytes)):
        return Constant(value)
    raise TypeError(f"{value!r} cannot stand in a declared expression")


def _apply(name: str, left: Any, right: Any) -> Any:
    if name in LOGIC:
        return _logic(name, left, right)
    if left is None or right is None:
        return None
    if name == "//":
        if right == 0:
            return None
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return _PYTHON[name](left, right)


def _logic(name: str, left: bool | None, right: bool | None) -> bool | None:
    """SQL's three-valued and / or."""
    decisive = name == "or"
    if left is decisive or right is decisive:
        return decisive
    if left is None or right is None:
        return None
    return not decisive
