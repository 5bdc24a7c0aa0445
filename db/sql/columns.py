"""Postgres types of declared kinds, and the shape of fact and state tables.

facts.<domain>_<event>   source, position, block_time, transaction, <fields>
state.<name>_<print>     source, <keys>, <folds>, <fold>_at, <fold>_refused
state.<name>_<print>__<fold>   source, <keys>, _value    (values of a CountDistinct)
"""

import hashlib
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from db.declare import (
    Count,
    CountDistinct,
    Event,
    Field,
    First,
    Fold,
    Kind,
    Latest,
    Replay,
    Stage,
    Sum,
)
from db.declare.fields import Encoding
from db.declare.projections import ProjectionSpec

FACTS = "facts"
STATE = "state"
VALUE = "_value"  # no column of a declaration begins with an underscore


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


@cache
def fact_table(event: type[Event]) -> Table:
    """The table of an event's facts."""
    spec = event.spec
    return Table(
        spec.table,
        MetaData(schema=FACTS),
        Column("source", SmallInteger, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("block_time", BigInteger, nullable=False),
        Column("transaction", LargeBinary, nullable=False),
        *(
            Column(name, field_type(field), nullable=False)
            for name, field in spec.fields.items()
        ),
        PrimaryKeyConstraint("source", "position", name=f"{spec.table}_pk"),
        comment=first_line(spec.doc),
    )


@cache
def state_name(spec: ProjectionSpec) -> str:
    """The name of the table that holds this version of a projection."""
    return f"{fit(spec.plural, 36)}_{spec.fingerprint()}"


@cache
def state_table(spec: ProjectionSpec) -> Table:
    """The table of a projection's rows, with its hidden columns."""
    return _state_table(spec, state_name(spec))


def _state_table(spec: ProjectionSpec, name: str) -> Table:
    columns: list[Column[Any]] = []
    for key, field in spec.keys.items():
        columns.append(Column(key, field_type(field), nullable=False))
    for fold in spec.folds.values():
        columns.extend(fold_columns(fold))
    table = Table(
        name,
        MetaData(schema=STATE),
        Column("source", SmallInteger, nullable=False),
        *columns,
        PrimaryKeyConstraint("source", *spec.keys, name=f"{name}_pk"),
        comment=first_line(spec.doc),
        postgresql_with={"fillfactor": 50},
    )
    for column in spec.index:
        # The key follows, so that keyset paging by the column needs no sort.
        keys = [table.c[key] for key in spec.keys if key != column]
        Index(fit(f"{name}_by_{column}"), table.c.source, table.c[column], *keys)
    return table


@cache
def member_table(spec: ProjectionSpec, fold: CountDistinct) -> Table:
    """The values that a CountDistinct has seen, by key."""
    name = fit(f"{state_name(spec)}__{fold.name}", 60)  # `_pk` follows
    return Table(
        name,
        MetaData(schema=STATE),
        Column("source", SmallInteger, nullable=False),
        *(Column(k, field_type(f), nullable=False) for k, f in spec.keys.items()),
        Column(
            VALUE,
            LargeBinary() if is_digested(fold) else field_type(fold.member),
            nullable=False,
        ),
        PrimaryKeyConstraint("source", *spec.keys, VALUE, name=f"{name}_pk"),
    )


def is_digested(fold: CountDistinct) -> bool:
    """Whether its values may be longer than an index takes: their SHA-256 is kept."""
    field = fold.member
    return field.kind in (Kind.TEXT, Kind.JSON) or (
        field.kind is Kind.BYTES and field.size is None
    )


def member_folds(spec: ProjectionSpec) -> list[CountDistinct]:
    """The folds of a projection that keep a table of values."""
    return [fold for fold in spec.folds.values() if isinstance(fold, CountDistinct)]


def fold_columns(fold: Fold) -> list[Column[Any]]:
    """The stored columns of a fold, the visible one first."""
    name = fold.name
    if isinstance(fold, (Count, CountDistinct)):
        return [Column(name, BigInteger, nullable=False, server_default="0")]
    if isinstance(fold, Sum):
        return [Column(name, Numeric(), nullable=False, server_default="0")]
    if isinstance(fold, Stage):
        return [
            Column(name, Text, nullable=False, server_default=""),
            Column(f"{name}_refused", BigInteger, nullable=False, server_default="0"),
            Column(f"{name}_at", BigInteger),
        ]
    columns: list[Column[Any]] = [Column(name, sql_type(fold.kind))]
    if isinstance(fold, (First, Latest, Replay)):
        columns.append(Column(f"{name}_at", BigInteger))
    return columns


def fit(name: str, most: int = 63) -> str:
    """A name that Postgres does not cut: the end of a longer one becomes a digest."""
    if len(name) <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return name[: most - 9] + digest[:9]


def first_line(doc: str) -> str:
    """The summary of a docstring."""
    return doc.split("\n", 1)[0].strip()


def readable(field: Field, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A stored value as people read it: bytes as text, the rest as it is."""
    if field.kind is not Kind.BYTES:
        return column
    if field.encoding is Encoding.BASE58:
        return func.control.base58(column, type_=Text())
    return literal_column("'0x'").op("||")(func.encode(column, "hex"))


def readable_text(field: Field, column: str) -> str:
    """The same as text of SQL."""
    if field.kind is not Kind.BYTES:
        return column
    if field.encoding is Encoding.BASE58:
        return f"control.base58({column})"
    return f"'0x' || encode({column}, 'hex')"
