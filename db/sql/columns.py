"""The shape of fact and state tables.

facts.<domain>_<event>   source, position, block_time, transaction, <fields>
state.<name>_<print>     source, <keys>, <folds>, <fold>_at, <fold>_refused
state.<name>_<print>__<fold>   source, <keys>, _value    (values of a CountDistinct)
"""

import hashlib
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    func,
    literal_column,
)

from db.declare import CountDistinct, Event, Field
from db.declare.buckets import TimeBucket
from db.declare.projections import ProjectionSpec
from db.sql.folds import sql_folds
from db.sql.folds.distinct import is_digested
from db.sql.types import field_type

FACTS = "facts"
STATE = "state"
VALUE = "_value"  # no column of a declaration begins with an underscore


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


def key_column(table: Table, field: Field) -> ColumnElement[Any]:
    """The column of facts that fills a key, or the beginning of their time's bucket."""
    if not isinstance(field, TimeBucket):
        return table.c[field.name]
    seconds: ColumnElement[int] = literal_column(str(field.seconds))
    rest = func.mod(table.c.block_time, seconds, type_=BigInteger)
    return table.c.block_time - rest


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
    for fold in sql_folds(spec):
        columns.extend(fold.columns())
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


def member_folds(spec: ProjectionSpec) -> list[CountDistinct]:
    """The folds of a projection that keep a table of values."""
    return [fold for fold in spec.folds.values() if isinstance(fold, CountDistinct)]


def fit(name: str, most: int = 63) -> str:
    """A name that Postgres does not cut: the end of a longer one becomes a digest."""
    if len(name) <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return name[: most - 9] + digest[:9]


def first_line(doc: str) -> str:
    """The summary of a docstring."""
    return doc.split("\n", 1)[0].strip()
