"""Postgres types of declared kinds."""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, LargeBinary, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from db.declare import Field, Kind


@cache
def sql_type(kind: Kind, bits: int | None = None) -> TypeEngine[Any]:
    """The column type of a kind; a uint256 is numeric(78,0), sums are unbounded."""
    if kind is Kind.NUMERIC:
        return Numeric(78, 0) if bits == 256 else Numeric()
    types: dict[Kind, TypeEngine[Any]] = {
        Kind.BYTES: LargeBinary(),
        Kind.BIGINT: BigInteger(),
        Kind.BOOLEAN: Boolean(),
        Kind.TEXT: Text(),
        Kind.JSON: JSONB(none_as_null=True),
    }
    return types[kind]


def field_type(field: Field) -> TypeEngine[Any]:
    """The column type of an event's field."""
    return sql_type(field.kind, 256 if field.kind is Kind.NUMERIC else None)
