"""Columns as readers see them, and what they can be filtered and sorted by."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Numeric,
    any_,
    bindparam,
)

from db.declare import Event, Field, FieldKind, First, Fold, Latest, Min, Stage
from db.declare.buckets import TimeBucket
from db.declare.emitters import PLACE
from db.declare.expressions import Constant
from db.declare.projections import ProjectionSpec
from db.declare.values import NUMBERS
from db.reads.forms import TIMES, Column, ValueForm, form_of, is_of_facts
from db.registry import event_fingerprint
from db.sql.folds import sql_fold, sql_folds


@cache
def row_columns(spec: ProjectionSpec, *, in_units: bool = True) -> dict[str, Column]:
    """The columns of a projection's rows; a Stage brings its count of refused moves.

    `in_units`: in the forms of their meanings, else as they are stored.
    """
    found = [
        Column(name, field, form_of(field, in_units=in_units), False, "key")
        for name, field in spec.keys.items()
    ]
    folds = {fold.name: fold for fold in sql_folds(spec)}
    for name, fold in folds.items():
        form = form_of(fold.field, in_units=in_units)
        form = ValueForm.NUMBER if fold.number else form
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
        form = form_of(field, in_units=in_units)
        found.append(Column(name, field, form, nullable, meaning))
    return {column.name: column for column in found}


@cache
def fact_columns(event: type[Event], *, in_units: bool = True) -> dict[str, Column]:
    """The columns of an event's facts."""
    fields = {name: PLACE[name] for name in ("height", "position", "block_time")}
    fields["transaction"] = event.spec.source.implicit["transaction"]
    fields |= event.spec.fields
    return {
        name: Column(
            name, field, form_of(field, in_units=in_units), False, _origin(field)
        )
        for name, field in fields.items()
    }


@cache
def row_filters(spec: ProjectionSpec, *, in_units: bool = True) -> dict[str, Column]:
    """Return the filters of rows: keys and indexed columns, with `__gte`, `__lte`.

    An indexed column that holds JSON has no order and no equality worth asking for;
    bytes, booleans and the words of a closed set have no order worth asking for.
    """
    columns = row_columns(spec, in_units=in_units)
    found = {name: columns[name] for name in [*spec.keys, *spec.index]}
    for name in spec.index:
        if ordered(columns[name]):
            found[f"{name}__gte"] = found[f"{name}__lte"] = columns[name]
    return {n: c for n, c in found.items() if c.form is not ValueForm.JSON}


def ordered(column: Column) -> bool:
    """Whether a range of the column's values means something to people."""
    if column.form is ValueForm.TEXT:
        return not column.choices
    return column.field.kind in NUMBERS


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
    event: type[Event], specs: Iterable[ProjectionSpec], *, in_units: bool = True
) -> dict[str, Column]:
    """Return the filters of facts: every value of theirs, heights and times.

    Those that `indexed_filters` has not are looked for in a part of the facts at once.
    A field that is named as a range of time is filtered by its name and an underscore.
    """
    columns = fact_columns(event, in_units=in_units)
    first = indexed_filters(event, specs)
    found: dict[str, Column] = {}
    for name in [*first, *event.spec.fields, "transaction"]:
        found.setdefault(f"{name}_" if name in TIMES else name, columns[name])
    for name in event.spec.fields:
        if columns[name].field.kind in NUMBERS:
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
    shown = [(c.name, c.form.value, c.field.meaning, c.origin) for c in columns]
    return _digest(spec.fingerprint(), shown)


@cache
def fact_version(event: type[Event]) -> str:
    """Changes when facts would look different."""
    columns = fact_columns(event).values()
    return _digest(
        event_fingerprint(event),
        [(c.name, c.form.value, c.field.meaning) for c in columns],
    )


HEIGHTS = ("height__gte", "height__lte")
# End the names of filters that take a list of values. Requests cannot name them: OWN is
# for what whoever asks may see, ANY for a filter that is given several times.
OWN = "__own"
ANY = "__any"


def is_range(name: str, column: Column) -> bool:
    """Whether a filter, by the name of readers, is one end of a range."""
    return name.endswith(("__gte", "__lte")) or is_of_facts(name, column)


def asked(name: str, column: Column, values: Sequence[Any]) -> dict[str, Any]:
    """The part of `where` for a filter, by the name of readers, and its values."""
    where = name if is_range(name, column) else column.name
    if is_of_facts(name, column):
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


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _origin(field: Field) -> str:
    if field.emitter:
        return "the contract that wrote the log"
    return field.param or "where the fact stands on the chain"
