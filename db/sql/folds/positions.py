"""`First` and `Latest`: a value and its position, packed into one array that sorts.

`min` and `max` of the array find the value in one pass without a sort.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    LargeBinary,
    Numeric,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
)
from sqlalchemy.dialects.postgresql import JSONB, array

from db.declare import FieldKind, First, Latest
from db.declare.events import FieldRef
from db.sql.folds.base import AT, F, SqlFold

_PACKED: dict[FieldKind, type[BigInteger] | type[Numeric[Any]] | type[LargeBinary]] = {
    FieldKind.NUMERIC: Numeric,
    FieldKind.BIGINT: BigInteger,
    FieldKind.BOOLEAN: BigInteger,
    FieldKind.BYTES: LargeBinary,
    FieldKind.TEXT: LargeBinary,
    FieldKind.JSON: LargeBinary,
}


class _AtPosition(SqlFold[F]):
    """Shared by the value at the lowest and at the highest position."""

    aggregate = "min"

    def columns(self) -> list[Column[Any]]:
        return [*super().columns(), Column(self.name + AT, BigInteger)]

    def lift(self, facts: FromClause, everywhere: bool) -> list[ColumnElement[Any]]:
        value, kind = facts.c[f"v_{self.name}"], self.fold.kind
        extreme = getattr(func, self.aggregate)
        packed: Any = extreme(pack(kind, facts.c.position, value))
        at: Any = extreme(facts.c.position)
        # Fields are never NULL; what is computed of them may be.
        values = [each.value for each in self.fold.contributions]
        if not everywhere or not all(isinstance(v, FieldRef) for v in values):
            present = value.is_not(None)
            packed, at = packed.filter(present), at.filter(present)
        return [unpack(kind, packed).label(self.name), at.label(self.name + AT)]

    def combine(self, old: Any, new: Any) -> dict[str, ColumnElement[Any]]:
        name, at = self.name, self.name + AT
        wins = or_(old[at].is_(None), self.wins(old, new))
        return {
            name: case((wins, new[name]), else_=old[name]),
            at: case((wins, new[at]), else_=old[at]),
        }

    def wins(self, old: Any, new: Any) -> ColumnElement[bool]:
        """Whether the new value takes the place of the stored one."""
        raise NotImplementedError


class FirstFold(_AtPosition[First]):
    """The value at the lowest position; of two there, the least."""

    def wins(self, old: Any, new: Any) -> ColumnElement[bool]:
        name, at = self.name, self.name + AT
        same = and_(new[at] == old[at], new[name] < old[name])
        return or_(new[at] < old[at], same)


class LatestFold(_AtPosition[Latest]):
    """The value at the highest position; of two there, the greatest."""

    aggregate = "max"

    def wins(self, old: Any, new: Any) -> ColumnElement[bool]:
        name, at = self.name, self.name + AT
        same = and_(new[at] == old[at], new[name] > old[name])
        return or_(new[at] > old[at], same)


def pack(
    kind: FieldKind, at: ColumnElement[Any], value: ColumnElement[Any]
) -> ColumnElement[Any]:
    """Position and value as one array that sorts by position."""
    if kind is FieldKind.NUMERIC:
        return array([cast(at, Numeric), cast(value, Numeric)])
    if kind is FieldKind.BIGINT:
        return array([at, cast(value, BigInteger)])
    if kind is FieldKind.BOOLEAN:
        return array(
            [at, case((value, literal_column("1")), else_=literal_column("0"))]
        )
    if kind is FieldKind.JSON:
        value = cast(value, Text)
    if kind is not FieldKind.BYTES:
        value = func.convert_to(value, "UTF8")
    return array([func.int8send(at), value])


def unpack(kind: FieldKind, packed: ColumnElement[Any]) -> ColumnElement[Any]:
    """The value of a packed array, NULL of NULL."""
    typed: Any = func.coalesce(packed, null(), type_=ARRAY(_PACKED[kind]))
    value = typed[2]
    if kind is FieldKind.BOOLEAN:
        return cast(value == 1, Boolean)
    if kind is FieldKind.TEXT:
        return func.convert_from(value, "UTF8", type_=Text())
    if kind is FieldKind.JSON:
        return cast(func.convert_from(value, "UTF8", type_=Text()), JSONB)
    return cast(value, Numeric) if kind is FieldKind.NUMERIC else value
