"""The form of a value in JSON: which it is, its SQL, and reading it back."""

import enum
import re
from copy import copy
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, cast

from db.declare import Field, FieldKind
from db.declare.emitters import PLACE
from db.declare.meanings import DIGITS_MAX
from db.declare.times import read_time
from db.reads.errors import BadQuery
from db.sql.meanings import meant_text
from db.sql.types import raw

# Ranges of time of facts, as readers name them: from one on, and before the other.
TIMES = {"since": "block_time__gte", "until": "block_time__lt"}


class ValueForm(enum.Enum):
    """The form of a value in JSON; the package's docstring has the table."""

    HEX = "hex"
    BASE58 = "base58"
    DECIMAL = "decimal"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    JSON = "json"
    AMOUNT = "amount"  # this and the others: forms of meanings
    SHARE = "share"
    TIME = "time"
    DURATION = "duration"
    CODE = "code"
    URL = "url"


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of an answer."""

    name: str
    field: Field
    form: ValueForm
    nullable: bool
    origin: str  # where the value comes from, for documentation
    choices: tuple[str, ...] = ()  # every value it can have, of a closed set of texts

    @property
    def in_units(self) -> bool:
        """Whether its values have the form of their meaning."""
        meaning = self.field.meaning
        return meaning is not None and self.form.value == meaning.form


def form_of(field: Field, *, in_units: bool = True) -> ValueForm:
    """The JSON form of a field's values; not `in_units`: as they are stored.

    What means something is text in both, so that one schema is true for both.
    """
    if in_units and field.meaning is not None:
        return ValueForm(field.meaning.form)
    if field is PLACE["height"] or (field.in_number and field.meaning is None):
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
    if column.in_units:
        assert column.field.meaning is not None  # it has the form
        return meant_text(column.field.meaning, value)
    if column.form is ValueForm.DECIMAL:
        return cast(value, Text)
    return raw(column.field, value)


def parse(column: Column, given: Any, name: str | None = None) -> Any:
    """A value as a query or a cursor gives it, as Postgres takes it; raises BadQuery.

    A number may be larger than its column holds: nothing equals it, and that is the
    answer. `name` is that of the filter, None in a cursor.
    """
    try:
        if column.form is ValueForm.TIME and name is not None:
            if type(given) is int:
                return given
            return read_time(name, str(given), whole=not is_of_facts(name, column))
        if column.in_units:
            assert column.field.meaning is not None  # it has the form
            return column.field.meaning.read(_named(column, name), given)
    except ValueError as error:
        raise BadQuery(str(error)) from error
    name = name or column.name
    if column.form in (ValueForm.DECIMAL, ValueForm.NUMBER):
        digits = str(given) if type(given) is int else given
        pattern = rf"-?[0-9]{{1,{DIGITS_MAX}}}"
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


def _named(column: Column, name: str | None) -> Field:
    """The field of a column under the name that messages give it."""
    named = copy(column.field)
    named.name = name or column.name
    return named


def _digits(field: Field) -> str:
    return "an even number of" if field.size is None else str(field.size * 2)


def _size(field: Field) -> str:
    return "some" if field.size is None else str(field.size)


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}…"


def is_of_facts(name: str, column: Column) -> bool:
    """Whether a filter is one of TIMES, and no column of that name."""
    return name in TIMES and column.name == "block_time"
