"""Recomputing given keys of a projection from their facts.

Repair deletes the rows of the keys (a table made by `db.sql.keys`) and inserts what all
their facts fold to; a key with no facts left has no row. The caller holds the
projection's lock alone, so that no merge can add to a row that is being recomputed.
"""

from functools import cache

from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    Table,
    delete,
    func,
    insert,
    select,
    text,
    tuple_,
)

from db.declare.projections import ProjectionSpec
from db.sql import replay
from db.sql.columns import VALUE, member_folds, member_table, state_table
from db.sql.fold import (
    branches,
    everything,
    facts_union,
    fold_select,
)
from db.sql.folds.distinct import member_value
from db.sql.keys import FIRST, among


def recompute(connection: Connection, spec: ProjectionSpec, keys: Table) -> int:
    """Make the rows of these keys what their facts fold to; how many keys it was."""
    count = connection.execute(select(func.count()).select_from(keys)).scalar_one()
    if not count:
        return 0
    connection.execute(text(f'ANALYZE "{keys.name}"'))
    connection.execute(_delete_rows(state_table(spec), keys))
    for fold in member_folds(spec):
        connection.execute(_delete_rows(member_table(spec, fold), keys))
    refill(connection, spec, keys)
    return int(count)


def refill(connection: Connection, spec: ProjectionSpec, keys: Table | None) -> None:
    """Insert the rows that facts fold to, for these keys or all; none may exist yet."""
    for statement in _refill(spec, keys):
        connection.execute(statement)
    replay.rebuild(connection, spec, keys)


@cache
def _delete_rows(table: Table, keys: Table) -> Delete:
    names = [c.name for c in keys.columns if c.name != FIRST]
    wanted = select(*(keys.c[name] for name in names))
    return delete(table).where(tuple_(*(table.c[n] for n in names)).in_(wanted))


@cache
def _refill(spec: ProjectionSpec, keys: Table | None) -> list[Insert]:
    names = ["source", *spec.keys]
    state = state_table(spec)
    restrict = everything if keys is None else among(spec, keys)
    folded = fold_select(spec, restrict).subquery("folded")
    skipped = {fold.name for fold in replay.replays(spec)}
    taken = [c.name for c in state.columns if c.name not in skipped]
    order = [folded.c[name] for name in names]
    rows = select(*(folded.c[name] for name in taken)).order_by(*order)
    statements = [insert(state).from_select(taken, rows)]
    for fold in member_folds(spec):
        arms = [arm for arm in branches(spec) if fold.name in arm.values]
        facts = facts_union(spec, arms, restrict)
        values = select(
            *(facts.c[name] for name in names), member_value(fold, facts)
        ).where(facts.c[f"v_{fold.name}"].is_not(None))
        members = member_table(spec, fold)
        statement = insert(members).from_select([*names, VALUE], values.distinct())
        statements.append(statement)
    return statements
