"""Reading whole projections back, in the form the reference gives."""

from decimal import Decimal

from sqlalchemy import select

from db.coverage import Stream
from db.declare import Replay, Stage
from db.sql import as_of, replay
from db.sql.columns import state_table
from db.sql.ddl import projection_columns
from db.sql.verify import differences


def streams(registry, filter_="test", start=0):
    """One stream for every event."""
    return [Stream(event, filter_, start) for event in registry.events]


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
        tuple(_plain(row[key]) for key in spec.keys): {
            name: _plain(value) for name, value in row.items() if name not in spec.keys
        }
        for row in result
    }


def _plain(value):
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, Decimal):
        assert value == int(value)
        return int(value)
    return value


__all__ = ["Replay", "live_rows", "problems", "rows_as_of", "streams"]
