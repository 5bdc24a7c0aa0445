"""Temporary tables, which SQLAlchemy Core has no word for."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Insert, Table, insert
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.selectable import Select


def fill_statement(table: Table, rows: Select[Any]) -> Insert:
    """The INSERT that fills a temporary table with the rows of a SELECT."""
    return insert(table).from_select([column.name for column in table.columns], rows)


def create_temporary(
    connection: Connection, table: Table, fill: Insert, parameters: Mapping[str, Any]
) -> None:
    """Create a temporary table that lives until commit, and fill it."""
    connection.execute(CreateTable(table))
    connection.execute(fill, parameters)
