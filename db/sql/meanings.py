"""Stored values in the forms of their meanings: in JSON, and in the public views.

None of these fails, whatever is stored: one row would break each read of its view.
An amount is multiplied by a power of ten, which is exact; Postgres rounds a quotient.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Numeric, Text, cast, func, literal_column
from sqlalchemy.dialects.postgresql import INTERVAL, TIMESTAMP
from sqlalchemy.types import TypeEngine

from db.declare.meanings import Code, Duration, Meaning, Scaled, Time

# The functions of `db/sql/functions` that write them.
_TEXTS: Mapping[type[Meaning], str] = {
    Code: "code_text", Duration: "duration_text", Time: "time_text",
}  # fmt: skip
_VIEWS: Mapping[type[Meaning], tuple[str, TypeEngine[Any]]] = {
    Code: ("code_text", Text()),
    Duration: ("time_span", INTERVAL()),
    Time: ("moment", TIMESTAMP(timezone=True)),
}


def meant_text(meaning: Meaning, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The JSON form of a value, as `Meaning.text` writes it."""
    if isinstance(meaning, Scaled):
        return cast(_in_units(meaning, column), Text)
    name = _TEXTS.get(type(meaning))
    if name is None:
        return column
    found: ColumnElement[Any] = getattr(func.control, name)(column, type_=Text())
    return found


def meant_value(meaning: Meaning, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value as the public views have it, in the type that Postgres has for it."""
    if isinstance(meaning, Scaled):
        return _in_units(meaning, column)
    if type(meaning) not in _VIEWS:
        return column
    name, type_ = _VIEWS[type(meaning)]
    found: ColumnElement[Any] = getattr(func.control, name)(column, type_=type_)
    return found


def meant_sql(meaning: Meaning, column: str) -> str:
    """The same as text of SQL."""
    if isinstance(meaning, Scaled):
        return f"trim_scale({column} * {_unit(meaning)})"
    if type(meaning) not in _VIEWS:
        return column
    return f"control.{_VIEWS[type(meaning)][0]}({column})"


def view_type(meaning: Meaning) -> str:
    """The Postgres type of a value in the public views."""
    if isinstance(meaning, Scaled):
        return "numeric"
    return {Duration: "interval", Time: "timestamptz"}.get(type(meaning), "text")


def _in_units(meaning: Scaled, column: ColumnElement[Any]) -> ColumnElement[Any]:
    unit: ColumnElement[Any] = literal_column(_unit(meaning), Numeric())
    return func.trim_scale(cast(column, Numeric) * unit, type_=Numeric())


def _unit(meaning: Scaled) -> str:
    """One of the stored unit, in what people count in: a numeric."""
    return f"1e-{meaning.places}" if meaning.places else "1::numeric"
