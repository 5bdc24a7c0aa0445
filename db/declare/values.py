"""The type of an expression's value, and the refusal of expressions that have none.

Found at import: `title + 1` or `method == b"short"` would otherwise fail, or be false
for ever, once facts arrive.
"""

from collections.abc import Sequence
from typing import Any

from db.declare.errors import DeclarationError
from db.declare.expressions import COMPARISONS, LOGIC, Binary, Constant, Expression
from db.declare.fields import Blob, Bool, Field, FieldKind, FixedBytes, Int, Text
from db.declare.meanings import Meaning, Scaled, Share
from db.declare.units import meaning_of, same_meaning

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


def common_field(values: Sequence[Expression]) -> Field:
    """The field that holds all these values, which are alike.

    Raises DeclarationError where they mean different things.
    """
    fields = [value_field(value) for value in values]
    sides = [(f.meaning, _is_constant(v)) for f, v in zip(fields, values, strict=True)]
    meaning = same_meaning(", ".join(v.describe() for v in values), sides)
    fitting = [field for field in fields if field.meaning == meaning]
    if not fitting or len({field.kind for field in fields}) > 1:
        return Int(meaning=meaning)
    # The widest, whose form holds every value; of equal ones, the first.
    return max(fitting, key=lambda field: getattr(field, "bits", 0))


def alike(one: Field, other: Field) -> bool:
    """Whether two fields have comparable values."""
    if one.kind is not other.kind:
        return {one.kind, other.kind} <= NUMBERS
    return one.size == other.size


def same_type(one: Field, other: Field) -> bool:
    """Whether two fields are stored alike and mean the same."""
    stored = (one.kind, one.size) == (other.kind, other.size)
    return stored and one.meaning == other.meaning


def full_type(field: Field) -> str:
    """The type of a field with its meaning."""
    meaning = "" if field.meaning is None else f", {field.meaning.described()}"
    return field.describe() + meaning


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
        _meaning(value, left, right)
        return Bool()
    _need(value, left, right, NUMBERS, left)
    meaning = _meaning(value, left, right)
    return Bool() if value.operator in COMPARISONS else Int(meaning=meaning)


def _meaning(value: Binary, left: Field, right: Field) -> Meaning | None:
    """The meaning of the value; raises DeclarationError where it has none."""
    product, by = value.left, value.right
    if value.operator == "//" and isinstance(by, Constant) and _is_unit(left, by):
        return None  # the whole units of an amount
    if (
        value.operator == "//"
        and isinstance(product, Binary)
        and product.operator == "*"
    ):
        sides = [value_field(product.left).meaning, value_field(product.right).meaning]
        for share, other in (sides, sides[::-1]):  # amount * share // its parts
            parts = share.whole if isinstance(share, Share) else None
            if isinstance(by, Constant) and by.value == parts:
                return other
    return meaning_of(
        value.describe(),
        value.operator,
        (left.meaning, _is_constant(value.left)),
        (right.meaning, _is_constant(value.right)),
    )


def _is_unit(field: Field, by: Constant) -> bool:
    """Whether a literal is one unit of what a field counts."""
    meaning = field.meaning
    return isinstance(meaning, Scaled) and by.value == 10**meaning.places


def _is_constant(value: Expression) -> bool:
    """Whether a value is made of literals alone."""
    return not value.leaves()


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
