"""Making facts and rows of the journal anew, from nothing but its entries."""

from sqlalchemy import Engine, delete

from db.journal.entries import refill_facts
from db.journal.head import lock_head
from db.registry import Registry
from db.schema import check_declarations, rebuild
from db.sql.columns import fact_table


def rebuild_facts(engine: Engine, registry: Registry) -> dict[str, int]:
    """Make all facts of entries and the rows folded from them anew; how many, by table.

    Readers see the old facts until the new ones are there; nothing is appended
    meanwhile.
    """
    made = {}
    with engine.begin() as connection:
        check_declarations(connection, registry)
        lock_head(connection)
        for event in registry.entries.values():
            table = fact_table(event)
            connection.execute(delete(table))
            made[event.spec.table] = refill_facts(connection, event, table)
    for plural, projection in registry.projections.items():
        if projection.spec.in_journal:
            made[plural] = rebuild(engine, registry, plural)
    return made
