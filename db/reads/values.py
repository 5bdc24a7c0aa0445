"""Columns as readers see them: their form in JSON, their SQL, and reading them back."""

import enum
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Numeric,
    Text,
    any_,
    bindparam,
    cast,
)

from db.declare import Event, Field, FieldKind, First, Fold, Latest, Min, Stage
from db.declare.buckets import TimeBucket
from db.declare.emitters import PLACE
from db.declare.expressions import Constant
from db.declare.projections import ProjectionSpec
from db.reads.errors import BadQuery
from db.reads.times import parse_time
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
    TIME = "time"  # of a query: RFC 3339, or seconds since 1970


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of an answer."""

    name: str
    field: Field
    form: ValueForm
    nullable: bool
    meaning: str  # where the value comes from, for documentation
    choices: tuple[str, ...] = ()  # every value it can have, of a closed set of texts


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
        found.append(
            Column(
                name, fold.field, form, fold.nullable, fold.meaning(),
                choices_of(spec.folds[name]),
            )
        )  # fmt: skip
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

    An indexed column that holds JSON has no order and no equality worth asking for;
    bytes, booleans and the words of a closed set have no order worth asking for.
    """
    columns = row_columns(spec)
    found = {name: columns[name] for name in [*spec.keys, *spec.index]}
    for name in spec.index:
        if ordered(columns[name]):
            found[f"{name}__gte"] = found[f"{name}__lte"] = columns[name]
    return {
        name: replace(column, form=ValueForm.TIME) if holds_time(column) else column
        for name, column in found.items()
        if column.form is not ValueForm.JSON
    }


def holds_time(column: Column) -> bool:
    """Whether a column has times of blocks, or beginnings of buckets of them."""
    field = column.field
    return field is PLACE["block_time"] or isinstance(field, TimeBucket)


def ordered(column: Column) -> bool:
    """Whether a range of the column's values means something to people."""
    if column.form is ValueForm.TEXT:
        return not column.choices
    return column.form in (ValueForm.DECIMAL, ValueForm.NUMBER)


def choices_of(fold: Fold) -> tuple[str, ...]:
    """The texts that a fold's value can be, none where any text may come."""
    if isinstance(fold, Stage):  # the empty text comes before the first move
        return tuple(dict.fromkeys([*(target for _, _, target in fold.moves), ""]))
    if not isinstance(fold, First | Latest):
        return ()
    values = [each.value for each in fold.contributions]
    words = [v.value for v in values if isinstance(v, Constant)]
    if len(words) < len(values) or not all(isinstance(word, str) for word in words):
        return ()
    return tuple(dict.fromkeys(words))


def fact_filters(
    event: type[Event], specs: Iterable[ProjectionSpec]
) -> dict[str, Column]:
    """Return the filters of facts: every value of theirs, heights and times.

    Those that `indexed_filters` has not are looked for in a part of the facts at once.
    A field that is named as a range of time is filtered by its name and an underscore.
    """
    columns = fact_columns(event)
    first = indexed_filters(event, specs)
    found: dict[str, Column] = {}
    for name in [*first, *event.spec.fields, "transaction"]:
        found.setdefault(f"{name}_" if name in TIMES else name, columns[name])
    for name in event.spec.fields:
        if columns[name].form in (ValueForm.DECIMAL, ValueForm.NUMBER):
            found[f"{name}__gte"] = found[f"{name}__lte"] = columns[name]
    found = {name: c for name, c in found.items() if c.form is not ValueForm.JSON}
    found["height__gte"] = found["height__lte"] = columns["height"]
    for name in TIMES:
        found[name] = replace(columns["block_time"], form=ValueForm.TIME)
    return found


def indexed_filters(
    event: type[Event], specs: Iterable[ProjectionSpec]
) -> dict[str, Column]:
    """Return the first keys of projections, by which facts have an index.

    It is there for repairs and reads as of a block.
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
    return found


def sortable(spec: ProjectionSpec) -> list[str]:
    """The columns that rows may be sorted by: their first key and indexed columns."""
    columns = row_columns(spec)
    names = dict.fromkeys([next(iter(spec.keys)), *spec.index])
    return [name for name in names if columns[name].form is not ValueForm.JSON]


def newest_first(spec: ProjectionSpec) -> str | None:
    """The column that sorts rows by when they began; None: no index has it.

    It never changes once it has a value, so that no row moves between pages.
    """
    for name in spec.index:
        fold = spec.folds.get(name)
        if isinstance(fold, First | Min) and fold.field is PLACE["block_time"]:
            return name
    key, field = next(iter(spec.keys.items()))
    return key if field is PLACE["position"] or isinstance(field, TimeBucket) else None


def default_sort(spec: ProjectionSpec, *, past: bool = False) -> str:
    """The order of rows when none is asked for, as `sort` names it: the newest first.

    `past`: as of a block, for which rows are sorted by key only.
    """
    newest, key = newest_first(spec), next(iter(spec.keys))
    return f"-{newest}" if newest is not None and (newest == key or not past) else key


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


HEIGHTS = ("height__gte", "height__lte")
# Ranges of time of facts, as readers name them: from one on, and before the other.
TIMES = {"since": "block_time__gte", "until": "block_time__lt"}
# End the names of filters that take a list of values. Requests cannot name them: OWN is
# for what whoever asks may see, ANY for a filter that is given several times.
OWN = "__own"
ANY = "__any"


def is_range(name: str, column: Column) -> bool:
    """Whether a filter, by the name of readers, is one end of a range."""
    return name.endswith(("__gte", "__lte")) or _is_of_facts(name, column)


def _is_of_facts(name: str, column: Column) -> bool:
    """Whether a filter is one of TIMES, and no column of that name."""
    return name in TIMES and column.name == "block_time"


def asked(name: str, column: Column, values: Sequence[Any]) -> dict[str, Any]:
    """The part of `where` for a filter, by the name of readers, and its values."""
    where = name if is_range(name, column) else column.name
    if _is_of_facts(name, column):
        where = TIMES[name]
    if len(values) == 1:
        return {where: values[0]}
    if column.field.kind is FieldKind.BIGINT:  # what it cannot hold equals nothing
        values = [value for value in values if -(1 << 63) <= value < 1 << 63]
    return {f"{where}{ANY}": sorted(set(values))}


def split_filter(name: str) -> tuple[str, str]:
    """The column of a filter's name, and `gte`, `lte`, `own`, `any` or nothing."""
    if name.endswith(("__gte", "__lte", OWN, ANY)):
        return name[:-5], name[-3:]
    return name, ""


def condition(name: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition of a filter on its column; binds `where_<name>`."""
    comparison = split_filter(name)[1]
    if comparison in ("own", "any"):
        wide = isinstance(
            column.type, Numeric
        )  # a list may hold what the column cannot
        type_ = Numeric() if wide else column.type
        several = bindparam(f"where_{name}", type_=ARRAY(type_))
        return column == any_(several)
    value = bindparam(f"where_{name}", type_=column.type)
    if comparison == "gte":
        return column >= value
    return column <= value if comparison == "lte" else column == value


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


def parse(column: Column, given: Any, name: str | None = None) -> Any:
    """A value as a query or a cursor gives it, as Postgres takes it; raises BadQuery.

    A number may be larger than its column holds: nothing equals it, and that is the
    answer. `name` is that of the filter.
    """
    name = name or column.name
    if column.form is ValueForm.TIME:
        if type(given) is int:
            return given
        return parse_time(name, str(given), whole=not _is_of_facts(name, column))
    if column.form in (ValueForm.DECIMAL, ValueForm.NUMBER):
        digits = str(given) if type(given) is int else given
        pattern = rf"-?[0-9]{{1,{MAX_DIGITS}}}"
        if isinstance(digits, str) and re.fullmatch(pattern, digits):
            return int(digits)
        raise BadQuery(f"{name}: {_shown(given)} is not a whole number.")
    try:
        return column.field.check(given)
    except ValueError as error:
        expected = {
            ValueForm.HEX: f"0x and {_digits(column.field)} hex digits",
            ValueForm.BASE58: f"{_size(column.field)} bytes in base58",
            ValueForm.BOOLEAN: "true or false",
        }.get(column.form, "text")
        raise BadQuery(f"{name}: {_shown(given)} is not {expected}.") from error


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
