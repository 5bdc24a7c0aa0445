"""CREATE statements: tables, indexes and the views that people read.

`public.<name>` is a view with readable encodings and row expressions; `state.<name>` a
view of the live table with raw values. Both are replaced when a projection changes, so
that readers never see a table being built.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Index,
    Label,
    MetaData,
    Select,
    Table,
    select,
)
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable, SetTableComment

from db.control import source as source_table
from db.declare import Event, Field
from db.declare.emitters import PLACE
from db.declare.expressions import Expression
from db.declare.folds import Fold
from db.declare.projections import ProjectionSpec
from db.sql.columns import FACTS, fact_table, fit, key_column, state_table
from db.sql.expressions import to_sql
from db.sql.folds import sql_folds
from db.sql.types import readable, readable_text

# Renders statements without parameters, and so without doubling each `%`.
DDL_DIALECT = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]


def projection_columns(
    spec: ProjectionSpec, table: Any
) -> list[tuple[str, Field, ColumnElement[Any]]]:
    """Name, field and SQL of every column that readers see, of a table or query."""

    def leaf(expression: Expression) -> ColumnElement[Any]:
        assert isinstance(expression, Fold)
        found: ColumnElement[Any] = table.c[expression.name]
        return found

    found = [(name, field, table.c[name]) for name, field in spec.keys.items()]
    for name, fold in spec.folds.items():
        found.append((name, fold.field, table.c[name]))
    for name, expression in spec.expressions.items():
        field = spec.column_field(name)
        found.append((name, field, to_sql(expression, leaf)))
    return found


def projection_view(spec: ProjectionSpec) -> Select[Any]:
    """The rows of a projection as people read them, with the chain's name."""
    table = state_table(spec)
    columns: list[Label[Any]] = [source_table.c.name.label("chain")]
    for name, field, column in projection_columns(spec, table):
        columns.append(readable(field, column).label(name))
    beside = [name for fold in sql_folds(spec) for name in fold.beside()]
    columns += [table.c[name].label(name) for name in beside]
    joined = table.join(source_table, source_table.c.id == table.c.source)
    return select(*columns).select_from(joined)


def fact_view(event: type[Event]) -> str:
    """The facts of an event as people read them, as SQL.

    Written here and not compiled: there may be thousands.
    """
    quote = DDL_DIALECT.identifier_preparer.quote
    facts = f"{FACTS}.{quote(event.spec.table)}"
    columns = [
        "control.source.name AS chain",
        f"{facts}.position >> 32 AS height",
        f"{facts}.position AS position",
    ]
    shown = {"block_time": PLACE["block_time"]}
    shown |= {"transaction": event.spec.source.implicit["transaction"]}
    for name, field in {**shown, **event.spec.fields}.items():
        value = readable_text(field, f"{facts}.{quote(name)}")
        columns.append(f"{value} AS {quote(name)}")
    return (
        f"SELECT {', '.join(columns)} \nFROM {facts} JOIN control.source"
        f" ON control.source.id = {facts}.source"
    )


def created(table: Table) -> Iterator[str]:
    """The statements that make a table with its comment."""
    yield str(CreateTable(table, if_not_exists=True).compile(dialect=DDL_DIALECT))
    yield str(SetTableComment(table).compile(dialect=DDL_DIALECT))


def run_all(connection: Connection, statements: Collection[str]) -> None:
    """Run statements without parameters in one round trip."""
    if not statements:
        return
    try:
        # As they are written: a `%` in one is no parameter.
        connection.exec_driver_sql(
            ";\n".join(statements), execution_options={"no_parameters": True}
        )
    except DBAPIError as error:
        error.statement = f"{len(statements)} statements"  # which nobody could read
        raise


def key_indexes(specs: Iterable[ProjectionSpec]) -> list[Index]:
    """Indexes of facts by key and position, which repair and as-of reads look up.

    They are made once a chain is caught up: kept from the start they would double the
    cost of a backfill.
    """
    found: dict[str, Index] = {}
    for spec in specs:
        for view in spec.views:
            # A copy: an index belongs to its table, which others create.
            table = fact_table(view.event).to_metadata(MetaData())
            keys = [view.field_for_key(key) for key in spec.keys]
            fields = [field for field in keys if field is not None]
            names = [field.name for field in fields]
            name = fit(f"{view.event.spec.table}_by_{'_'.join(names)}")
            if names != ["position"] and name not in found:
                columns = [table.c.source, *(key_column(table, f) for f in fields)]
                found[name] = Index(name, *columns, table.c.position)
    return list(found.values())
