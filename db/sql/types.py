"""Postgres types of declared kinds, and stored values as people read them."""

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    LargeBinary,
    Numeric,
    Text,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from db.declare import Field, FieldKind
from db.declare.fields import Encoding
from db.sql.meanings import meant_sql, meant_value


@cache
def sql_type(kind: FieldKind, bits: int | None = None) -> TypeEngine[Any]:
    """The column type of a kind; a uint256 is numeric(78,0), sums are unbounded."""
    if kind is FieldKind.NUMERIC:
        return Numeric(78, 0) if bits == 256 else Numeric()
    types: dict[FieldKind, TypeEngine[Any]] = {
        FieldKind.BYTES: LargeBinary(),
        FieldKind.BIGINT: BigInteger(),
        FieldKind.BOOLEAN: Boolean(),
        FieldKind.TEXT: Text(),
        FieldKind.JSON: JSONB(none_as_null=True),
    }
    return types[kind]


def field_type(field: Field) -> TypeEngine[Any]:
    """The column type of an event's field."""
    return sql_type(field.kind, 256 if field.kind is FieldKind.NUMERIC else None)


def readable(field: Field, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A stored value as the public views have it: by its meaning, or as it is."""
    if field.meaning is not None:
        return meant_value(field.meaning, column)
    return raw(field, column)


def raw(field: Field, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A stored value without its meaning: bytes as text, the rest as it is."""
    if field.kind is not FieldKind.BYTES:
        return column
    if field.encoding is Encoding.BASE58:
        return func.control.base58(column, type_=Text())
    return literal_column("'0x'").op("||")(func.encode(column, "hex"))


def readable_text(field: Field, column: str) -> str:
    """The same as `readable` as text of SQL."""
    if field.meaning is not None:
        return meant_sql(field.meaning, column)
    if field.kind is not FieldKind.BYTES:
        return column
    if field.encoding is Encoding.BASE58:
        return f"control.base58({column})"
    return f"'0x' || encode({column}, 'hex')"
