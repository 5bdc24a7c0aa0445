"""The type of an expression's value, and the refusal of expressions that have none.

Found at import: `title + 1` or `method == b"short"` would otherwise fail, or be false
for ever, once facts arrive.
"""

from collections.abc import Sequence
from typing import Any

from db.declare.errors import DeclarationError
from db.declare.expressions import COMPARISONS, LOGIC, Binary, Constant, Expression
from db.declare.fields import Blob, Bool, Field, FieldKind, FixedBytes, Int, Text

NUMBERS = frozenset({FieldKind.NUMERIC, FieldKind.BIGINT})


def value_field(value: Expression) -> Field:
    """The field whose type an expression over event fields or folds has."""
    if isinstance(value, Constant):
        return _constant_field(value.value)
    if isinstance(value, Binary):
        return _binary_field(value)
    found = getattr(value, "field", None)  # of a FieldRef or a Fold
    if isinstance(found, Field):
        return found
    raise TypeError(f"{value!r} has no type")


def common_field(fields: Sequence[Field]) -> Field:
    """The field that holds the values of all these, which are alike."""
    if len({field.kind for field in fields}) > 1:
        return Int()
    return fields[0]


def alike(one: Field, other: Field) -> bool:
    """Whether two fields have comparable values."""
    if one.kind is not other.kind:
        return {one.kind, other.kind} <= NUMBERS
    return one.size == other.size


def type_name(field: Field) -> str:
    """The type as messages give it."""
    return field.kind.value + (f"({field.size})" if field.size is not None else "")


def _binary_field(value: Binary) -> Field:
    left, right = value_field(value.left), value_field(value.right)
    if value.operator in LOGIC:
        return _need(value, left, right, {FieldKind.BOOLEAN}, Bool())
    if value.operator in ("==", "!="):
        if not alike(left, right):
            raise DeclarationError(
                value.describe(),
                f"{type_name(left)} is never equal to {type_name(right)}",
                "compare values of one type (bytes of one length: pad them)",
            )
        return Bool()
    result = Bool() if value.operator in COMPARISONS else Int()
    return _need(value, left, right, NUMBERS, result)


def _need(
    value: Binary,
    left: Field,
    right: Field,
    kinds: "set[FieldKind] | frozenset[FieldKind]",
    result: Field,
) -> Field:
    for side in (left, right):
        if side.kind not in kinds:
            wanted = "numbers" if kinds is NUMBERS else "conditions"
            raise DeclarationError(
                value.describe(),
                f"{value.operator!r} takes {wanted}, and one side is {type_name(side)}",
                f"give it {wanted}",
            )
    return result


def _constant_field(value: Any) -> Field:
    if isinstance(value, bool):
        return Bool()
    if isinstance(value, int):
        return Int()
    if isinstance(value, bytes):
        return FixedBytes(len(value)) if 1 <= len(value) <= 32 else Blob()
    return Text()
