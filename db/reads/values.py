"""Columns as readers see them: their form in JSON, their SQL, and reading them back."""

import enum
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Text, cast

from db.declare import Event, Field, FieldKind, Fold
from db.declare.buckets import TimeBucket
from db.declare.emitters import PLACE
from db.declare.projections import ProjectionSpec
from db.reads.errors import BadQuery
from db.registry import event_fingerprint
from db.sql.folds import sql_fold, sql_folds
from db.sql.types import readable

MAX_DIGITS = 200  # more than any sum of uint256 will have


class ValueForm(enum.Enum):
    """The form of a value in JSON; the package's docstring has the table."""

    HEX = "hex"
    BASE58 = "base58"
    DECIMAL = "decimal"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of an answer."""

    name: str
    field: Field
    form: ValueForm
    nullable: bool
    meaning: str  # where the value comes from, for documentation


@cache
def row_columns(spec: ProjectionSpec) -> dict[str, Column]:
    """The columns of a projection's rows; a Stage brings its count of refused moves."""
    found = [
        Column(name, field, form_of(field), False, "key")
        for name, field in spec.keys.items()
    ]
    folds = {fold.name: fold for fold in sql_folds(spec)}
    for name, fold in folds.items():
        form = ValueForm.NUMBER if fold.number else form_of(fold.field)
        found.append(Column(name, fold.field, form, fold.nullable, fold.meaning()))
    for fold in folds.values():
        for name, meaning in fold.beside().items():
            count = PLACE["height"]
            found.append(Column(name, count, ValueForm.NUMBER, False, meaning))
    for name, expression in spec.expressions.items():
        field = spec.column_field(name)
        meaning = expression.describe()
        nullable = "//" in meaning or any(
            sql_fold(leaf).nullable
            for leaf in expression.leaves()
            if isinstance(leaf, Fold)
        )
        found.append(Column(name, field, form_of(field), nullable, meaning))
    return {column.name: column for column in found}


@cache
def fact_columns(event: type[Event]) -> dict[str, Column]:
    """The columns of an event's facts."""
    fields = {name: PLACE[name] for name in ("height", "position", "block_time")}
    fields["transaction"] = event.spec.source.implicit["transaction"]
    fields |= event.spec.fields
    return {
        name: Column(name, field, form_of(field), False, _origin(field))
        for name, field in fields.items()
    }


@cache
def row_filters(spec: ProjectionSpec) -> dict[str, Column]:
    """Return the filters of rows: keys and indexed columns, with `__gte`, `__lte`.

    An indexed column that holds JSON has no order and no equality worth asking for.
    """
    columns = row_columns(spec)
    found = {name: columns[name] for name in [*spec.keys, *spec.index]}
    for name in spec.index:
        found[f"{name}__gte"] = found[f"{name}__lte"] = columns[name]
    return {name: c for name, c in found.items() if c.form is not ValueForm.JSON}


def fact_filters(
    event: type[Event], specs: Iterable[ProjectionSpec]
) -> dict[str, Column]:
    """Return the filters of facts: heights, and first keys of projections.

    Facts have an index by those fields, for repairs and reads as of a block.
    """
    columns = fact_columns(event)
    found = {}
    for spec in specs:
        for view in spec.views:
            if view.event is event:
                field = view.field_for_key(next(iter(spec.keys)))
                assert field is not None  # the declaration was checked at import
                if field.name in columns:  # a bucket is none
                    found[field.name] = columns[field.name]
    found["height__gte"] = found["height__lte"] = columns["height"]
    return found


def sortable(spec: ProjectionSpec) -> list[str]:
    """The columns that rows may be sorted by: their first key and indexed columns."""
    columns = row_columns(spec)
    names = dict.fromkeys([next(iter(spec.keys)), *spec.index])
    return [name for name in names if columns[name].form is not ValueForm.JSON]


@cache
def row_version(spec: ProjectionSpec) -> str:
    """Changes when rows would look different, though their facts be the same."""
    columns = row_columns(spec).values()
    shown = [(c.name, c.form.value, c.meaning) for c in columns]
    return _digest(spec.fingerprint(), shown)


@cache
def fact_version(event: type[Event]) -> str:
    """Changes when facts would look different."""
    columns = fact_columns(event).values()
    return _digest(event_fingerprint(event), [(c.name, c.form.value) for c in columns])


# Ends the name of a filter that takes several values. Requests cannot name it: it is
# for what whoever asks may see.
OWN = "__own"


def split_filter(name: str) -> tuple[str, str]:
    """The column of a filter's name, and `gte`, `lte`, `own` or nothing."""
    if name.endswith(("__gte", "__lte", OWN)):
        return name[:-5], name[-3:]
    return name, ""


def form_of(field: Field) -> ValueForm:
    """The JSON form of a field's values."""
    if field in (PLACE["height"], PLACE["block_time"]) or isinstance(field, TimeBucket):
        return ValueForm.NUMBER
    if field.kind is FieldKind.BYTES:
        return ValueForm(field.encoding.value)
    forms = {
        FieldKind.NUMERIC: ValueForm.DECIMAL, FieldKind.BIGINT: ValueForm.DECIMAL,
        FieldKind.BOOLEAN: ValueForm.BOOLEAN, FieldKind.TEXT: ValueForm.TEXT,
        FieldKind.JSON: ValueForm.JSON,
    }  # fmt: skip
    return forms[field.kind]


def as_json(column: Column, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """The SQL of a value in its JSON form."""
    if column.form is ValueForm.DECIMAL:
        return cast(value, Text)
    return readable(column.field, value)


def parse(column: Column, given: Any) -> Any:
    """A value as a query or a cursor gives it, as Postgres takes it; raises BadQuery.

    A number may be larger than its column holds: nothing equals it, and that is the
    answer.
    """
    if column.form in (ValueForm.DECIMAL, ValueForm.NUMBER):
        digits = str(given) if type(given) is int else given
        pattern = rf"-?[0-9]{{1,{MAX_DIGITS}}}"
        if isinstance(digits, str) and re.fullmatch(pattern, digits):
            return int(digits)
        raise BadQuery(f"{column.name}: {_shown(given)} is not a whole number.")
    try:
        return column.field.check(given)
    except ValueError as error:
        expected = {
            ValueForm.HEX: f"0x and {_digits(column.field)} hex digits",
            ValueForm.BASE58: f"{_size(column.field)} bytes in base58",
            ValueForm.BOOLEAN: "true or false",
        }.get(column.form, "text")
        raise BadQuery(f"{column.name}: {_shown(given)} is not {expected}.") from error


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _digits(field: Field) -> str:
    return "an even number of" if field.size is None else str(field.size * 2)


def _size(field: Field) -> str:
    return "some" if field.size is None else str(field.size)


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _origin(field: Field) -> str:
    if field.emitter:
        return "the contract that wrote the log"
    return field.param or "where the fact stands on the chain"
