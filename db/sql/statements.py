"""Statements that are kept, and temporary tables, for which Core has no word."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Table, insert
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.selectable import Select

T = TypeVar("T", bound=Callable[..., Any])

# Statements depend on which events of a projection a range has. There may be thousands
# of such sets in the life of a follower: those not met for long are compiled again.
_KEPT = 256


def cached_by_events(function: T) -> T:
    """Keep what a function made for the sets of events met last."""
    return lru_cache(maxsize=_KEPT)(function)  # type: ignore[return-value]


def fill_statement(table: Table, rows: Select[Any]) -> Insert:
    """The INSERT that fills a temporary table with the rows of a SELECT."""
    return insert(table).from_select([column.name for column in table.columns], rows)


def create_temporary(
    connection: Connection, table: Table, fill: Insert, parameters: Mapping[str, Any]
) -> None:
    """Create a temporary table that lives until commit, and fill it."""
    connection.execute(CreateTable(table))
    connection.execute(fill, parameters)
