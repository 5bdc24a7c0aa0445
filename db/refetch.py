"""Facts of changed events, made beside the old ones: readers see the old until a swap.

A changed event has other columns under the same name. Its new table, empty or refilled
from the journal, is made in the schema `building`, where the facts of every other event
stand as a view; projections are refilled from there. `swap` then puts the tables in
place of the old, at the end of the migration, when readers wait for the commit only.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, MetaData, delete, text, update

from db.control import coverage, undecodable_log
from db.declare import Event
from db.journal.entries import refill_facts
from db.registry import Registry
from db.sql.columns import FACTS, fact_table
from db.views import drop_view

BUILDING = "building"


@contextmanager
def build_beside(
    connection: Connection, registry: Registry, changed: Collection[type[Event]]
) -> Iterator[None]:
    """Make the new tables of changed events; within the block facts are read there.

    Facts of entries are remade at once. What was read of other events is forgotten, as
    if they had been rewound to the start.
    """
    if not changed:
        yield
        return
    connection.execute(text(f"CREATE SCHEMA {BUILDING}"))
    for event in registry.events.values():
        if event in changed:
            _build(connection, event)
            continue
        name = _quoted(connection, event.spec.table)
        connection.execute(
            text(f"CREATE VIEW {BUILDING}.{name} AS TABLE {FACTS}.{name}")
        )
    connection.execution_options(schema_translate_map={FACTS: BUILDING})
    yield
    connection.execution_options(schema_translate_map=None)


def _build(connection: Connection, event: type[Event]) -> None:
    table = fact_table(event).to_metadata(MetaData(), schema=BUILDING)
    table.create(connection)
    if event.spec.in_journal:
        refill_facts(connection, event, table)
        return
    nothing = {"blocks": text("CAST('{}' AS int8multirange)")}
    mine = coverage.c.event == event.spec.id
    connection.execute(update(coverage).where(mine).values(nothing))
    emitter, schema = event.spec.source, event.spec.schema
    # By its signature where a log cannot be decoded, by its name in a program.
    names = emitter.signature(schema), getattr(schema, "name", "")
    announcing = [f"{emitter.name}.{name}" for name in names]
    connection.execute(
        delete(undecodable_log).where(undecodable_log.c.event.in_(announcing))
    )


def swap(connection: Connection, changed: Collection[type[Event]]) -> None:
    """Put the new tables in place of the old; their views are to be made anew."""
    if not changed:
        return
    for event in changed:
        name = _quoted(connection, event.spec.table)
        drop_view(connection, "public", event.spec.table)
        connection.execute(text(f"DROP TABLE {FACTS}.{name}"))
        connection.execute(text(f"ALTER TABLE {BUILDING}.{name} SET SCHEMA {FACTS}"))
    connection.execute(text(f"DROP SCHEMA {BUILDING} CASCADE"))


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
