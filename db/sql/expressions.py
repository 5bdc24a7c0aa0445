"""Declared expressions as SQL."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Numeric,
    and_,
    cast,
    func,
    literal,
    literal_column,
    or_,
)

from db.declare.expressions import Binary, Constant, Expression

Leaf = Callable[[Expression], ColumnElement[Any]]


def to_sql(expression: Expression, leaf: Leaf) -> ColumnElement[Any]:
    """The SQL of an expression, `leaf` giving the SQL of each leaf."""
    if isinstance(expression, Constant):
        return _constant(expression.value)
    if isinstance(expression, Binary):
        left = to_sql(expression.left, leaf)
        right = to_sql(expression.right, leaf)
        return _binary(expression.operator, left, right)
    return leaf(expression)


def _constant(value: Any) -> ColumnElement[Any]:
    """A bound value, but bytes in full: in a view they could not be bound."""
    if isinstance(value, bytes):
        return cast(literal_column(f"'\\x{value.hex()}'"), LargeBinary)
    return literal(value)


def _binary(
    name: str, left: ColumnElement[Any], right: ColumnElement[Any]
) -> ColumnElement[Any]:
    if name == "and":
        return and_(left, right)
    if name == "or":
        return or_(left, right)
    if name in ("+", "-", "*", "//"):
        # As numeric: a bigint would overflow where Python does not.
        left, right = cast(left, Numeric), cast(right, Numeric)
        if name == "//":
            return func.div(left, func.nullif(right, 0), type_=Numeric())
        return {"+": left + right, "-": left - right, "*": left * right}[name]
    return {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }[name]
