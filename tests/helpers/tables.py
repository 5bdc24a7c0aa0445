"""Whole projections read back as the reference gives them, and compared with it."""

from decimal import Decimal

from sqlalchemy import event, select, text

from db import coverage, sources
from db.coverage import Stream
from db.declare import Stage
from db.position import BlockRange
from db.sql import as_of, replay
from db.sql.columns import state_table
from db.sql.ddl import projection_columns
from db.sql.verify import differences
from helpers import reference
from indexer.writer import write_batch


def streams(registry, filter_="test", start=0, events=None):
    """One stream for every event, or for those with these ids."""
    return [
        Stream(event, filter_, start)
        for event in registry.events
        if events is None or event in events
    ]


def empty(engine, *names):
    """Forget all chains, and begin one for each name; the id of one, or a list."""
    with engine.begin() as connection:
        tables = connection.execute(
            text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname IN ('facts', 'state') OR (schemaname = 'control'"
                " AND tablename NOT IN ('alembic_version', 'declaration'))"
            )
        ).scalars()
        # As a replica: the journal's own guard refuses it.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"TRUNCATE {', '.join(tables)}"))
        ids = [
            sources.register(
                connection, name=name, chain_id=f"eip155:{number}", ordinals="rank"
            ).id
            for number, name in enumerate(names or ("test",), start=1)
        ]
    return ids if names else ids[0]


def fill_gaps(engine, registry, source, history, wanted, limit=7):
    """Write what coverage lacks, range by range, as a follower does."""
    within = BlockRange(0, history.height)
    while True:
        with engine.connect() as connection:
            gaps = coverage.missing(connection, source, wanted, within)
        following = coverage.next_range(gaps, limit)
        if following is None:
            return
        blocks, lacking = following
        write_batch(engine, registry, source, history.batch(blocks), lacking)


def write_both(engine, registry, source, ours, theirs):
    """Write two batches with their streams, the second in the middle of the first.

    In the middle: after the first has read which blocks are covered. One without facts
    does not ask, and the second comes after it.
    """
    waiting = [theirs]

    def interfere(connection, cursor, statement, parameters, context, many):
        if "SELECT event FROM control.coverage" in statement and waiting:
            write_batch(engine, registry, source, *waiting.pop())

    event.listen(engine, "after_cursor_execute", interfere)
    try:
        write_batch(engine, registry, source, *ours)
    finally:
        event.remove(engine, "after_cursor_execute", interfere)
    if waiting:
        write_batch(engine, registry, source, *waiting.pop())


def check(engine, registry, source, history, rng):
    """Live rows, rows as of some blocks, and verify, against the reference."""
    facts = history.all_facts()
    with engine.connect() as connection:
        for projection in registry.projections.values():
            expected = reference.fold(projection, facts)
            assert expected == live_rows(connection, projection, source)
            for height in (rng.randint(0, history.height), history.height):
                expected = reference.fold(projection, facts, as_of=height)
                assert expected == rows_as_of(connection, projection, source, height)
        assert [] == problems(connection, registry)


def live_rows(connection, projection, source):
    """The stored rows of a projection: key values to visible columns."""
    table = state_table(projection.spec)
    query = _visible(projection.spec, table).where(table.c.source == source)
    return _as_dict(projection.spec, connection.execute(query).mappings())


def rows_as_of(connection, projection, source, height):
    """The rows of a projection at the end of a block."""
    spec = projection.spec
    folded = as_of.as_of_select(spec).subquery("folded")
    bounds = {"source": source, "highest": (height << 32) | 0xFFFFFFFF}
    result = connection.execute(_visible(spec, folded), bounds).mappings()
    rows = _as_dict(spec, result)
    for fold in replay.replays(spec):
        for row in rows.values():
            row[fold.name] = replay.reduce_facts(fold, None, row[fold.name])
    return rows


def problems(connection, registry):
    """Everything that `verify` finds."""
    return [
        difference
        for projection in registry.projections.values()
        for difference in differences(connection, projection.spec)
    ]


def _visible(spec, table):
    columns = [
        column.label(name) for name, _, column in projection_columns(spec, table)
    ]
    for name, fold in spec.folds.items():
        if isinstance(fold, Stage):
            columns.append(table.c[f"{name}_refused"])
    return select(*columns)


def _as_dict(spec, result):
    return {
        tuple(plain(row[key]) for key in spec.keys): {
            name: plain(value) for name, value in row.items() if name not in spec.keys
        }
        for row in result
    }


def plain(value):
    """A value as the reference has it."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, Decimal):
        assert value == int(value)
        return int(value)
    return value
