"""Statements that SQLAlchemy Core has no word for."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Select, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable


class CreateTableAs(Executable, ClauseElement):
    """`CREATE TEMPORARY TABLE … ON COMMIT DROP AS SELECT …`."""

    inherit_cache = False

    def __init__(self, name: str, rows: Select[Any]) -> None:
        self.name = name
        self.rows = rows


@compiles(CreateTableAs)
def _create_table_as(element: CreateTableAs, compiler: SQLCompiler, **kw: Any) -> str:
    name = compiler.preparer.quote(element.name)
    rows = compiler.process(element.rows, **kw)
    return f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {rows}"


def create_table_as(
    connection: Connection, name: str, rows: Select[Any], parameters: Mapping[str, Any]
) -> Table:
    """Run a SELECT into a temporary table that lives until the end of the transaction."""
    connection.execute(CreateTableAs(name, rows), parameters)
    columns = [Column(column.name, column.type) for column in rows.subquery().columns]
    return Table(name, MetaData(), *columns)
