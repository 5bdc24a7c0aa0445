"""Facts whose position is not the one that the chain's way of counting gives.

With filtered logs the index of a log is part of its position, and before a chain kept
one way of counting (`indexer.evm.numbering`) each node counted in its own. Such a fact
stands in the right block and transaction, with the right values, under another number.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    select,
)

from db.copy import stage
from db.declare import Event
from db.facts import FactColumns
from db.position import MAX_ORDINAL, ORDINAL_BITS, BlockRange
from db.sql.columns import fact_table

INDEX_BITS = 18  # of the ordinal: the log's index, behind that of its transaction


def doubtful_blocks(
    connection: Connection, source: int, events: Iterable[type[Event]]
) -> list[int]:
    """The blocks with a fact that has another number where logs are counted otherwise.

    Those of facts in the first transaction are counted alike.
    """
    heights: set[int] = set()
    for event in events:
        facts = fact_table(event).c
        height = facts.position.op(">>")(ORDINAL_BITS)
        query = select(height).where(facts.source == source, _is_later(event))
        heights |= set(connection.execute(query.distinct()).scalars())
    return sorted(heights)


def doubtful_samples(
    connection: Connection, source: int, events: Iterable[type[Event]], most: int
) -> list[int]:
    """Some of `doubtful_blocks`: the first and the last of each event, thinned out."""
    heights: set[int] = set()
    for event in events:
        at = fact_table(event).c.position
        query = select(at).where(fact_table(event).c.source == source, _is_later(event))
        for order in (at, at.desc()):
            found = connection.execute(query.order_by(order).limit(1)).scalar()
            if found is not None:
                heights.add(found >> ORDINAL_BITS)
    ordered = sorted(heights)
    if len(ordered) <= most:
        return ordered
    return [ordered[n * (len(ordered) - 1) // (most - 1)] for n in range(most)]


def _is_later(event: type[Event]) -> ColumnElement[bool]:
    ordinal = fact_table(event).c.position.op("&")(MAX_ORDINAL)
    later: ColumnElement[bool] = ordinal >= 1 << INDEX_BITS
    return later


def count_misplaced(
    connection: Connection, source: int, facts: FactColumns, blocks: BlockRange
) -> dict[int, int]:
    """By block, how many stored facts of an event have another number than given.

    `facts` are all of the event's in the range.
    """
    staged = stage(connection, source, facts)
    table = fact_table(facts.event)
    height = table.c.position.op(">>")(ORDINAL_BITS)
    query = select(height, func.count()).where(
        _misplaced(table, staged, source, blocks)
    )
    rows = connection.execute(query.group_by(height)).all()
    staged.drop(connection)
    return {row[0]: row[1] for row in rows}


def forget_misplaced(
    connection: Connection, source: int, found: Collection[FactColumns], at: BlockRange
) -> None:
    """Delete what `count_misplaced` counts; the facts given are to be inserted then."""
    for facts in found:
        staged = stage(connection, source, facts)
        table = fact_table(facts.event)
        connection.execute(delete(table).where(_misplaced(table, staged, source, at)))
        staged.drop(connection)


def _misplaced(
    table: Table, staged: Table, source: int, blocks: BlockRange
) -> ColumnElement[bool]:
    """Stored facts with the values of one that is given, and not its position."""
    same = [
        column == staged.c[column.name]
        for column in table.columns
        if column is not table.c.position
    ]
    elsewhere = exists().where(*same)
    here = exists().where(*same, table.c.position == staged.c.position)
    within = table.c.position.between(blocks.lowest, blocks.highest)
    return and_(table.c.source == source, within, elsewhere, ~here)
