"""Rows of tables as dataclasses."""

from dataclasses import fields
from decimal import Decimal
from typing import Any, TypeVar

T = TypeVar("T")


def from_row(cls: type[T], row: Any, **given: Any) -> T:
    """Return a row as a dataclass whose fields have the names of columns.

    Binary values become bytes and numerics, which hold integers, become int; `given`
    are fields that are made otherwise.
    """
    values = {
        name: _plain(getattr(row, name)) for name in _fields(cls) if name not in given
    }
    return cls(**values, **given)


_names: dict[type[Any], tuple[str, ...]] = {}


def _fields(cls: type[Any]) -> tuple[str, ...]:
    if cls not in _names:
        _names[cls] = tuple(each.name for each in fields(cls))
    return _names[cls]


def _plain(value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    return int(value) if isinstance(value, Decimal) else value
