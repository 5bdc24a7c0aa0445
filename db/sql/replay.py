"""Running a Replay's Python reducer over the ordered facts of a key."""

import types
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    select,
    update,
)

from db.declare import Replay
from db.declare.projections import ProjectionSpec
from db.sql.columns import state_table
from db.sql.fold import Restrict, fold_select, within_range

_PAGE = 1000  # keys reduced at a time, so that memory does not grow with the table


def replays(spec: ProjectionSpec) -> list[Replay]:
    """The Replay folds of a projection."""
    return [fold for fold in spec.folds.values() if isinstance(fold, Replay)]


def reduce_facts(
    fold: Replay, state: Any, facts: Iterable[Mapping[str, Any]] | None
) -> Any:
    """The state after these facts, in the order given."""
    for fact in facts or ():
        state = fold.reducer(state, types.SimpleNamespace(**fact))
    return state


def advance(
    connection: Connection,
    spec: ProjectionSpec,
    bounds: Mapping[str, int],
    events: Collection[str],
    late: Table,
) -> None:
    """Go on from the stored states with the facts of a range, except for late keys."""
    from db.sql.repair import outside

    if not replays(spec):
        return
    rows = fold_select(spec, outside(spec, late, within_range), events=events)
    _reduce_into(connection, spec, rows, bounds, resume=True)


def rebuild(connection: Connection, spec: ProjectionSpec, restrict: Restrict) -> None:
    """Recompute the states of all keys with facts under `restrict`."""
    if replays(spec):
        rows = fold_select(spec, restrict)
        _reduce_into(connection, spec, rows, {}, resume=False)


def _reduce_into(
    connection: Connection,
    spec: ProjectionSpec,
    rows: Select[Any],
    bounds: Mapping[str, int],
    *,
    resume: bool,
) -> None:
    table = state_table(spec)
    names = ["source", *spec.keys]
    folded = rows.subquery("folded")
    same = and_(*(table.c[name] == folded.c[name] for name in names))
    columns = [folded.c[name] for name in names]
    for fold in replays(spec):
        columns += [folded.c[fold.name].label(f"facts_{fold.name}")]
        columns += [table.c[fold.name].label(f"state_{fold.name}")]
    query = select(*columns).select_from(folded.join(table, same))
    result = connection.execute(query, bounds, execution_options={"yield_per": _PAGE})
    for page in result.mappings().partitions(_PAGE):
        changed = [_reduce_row(spec, row, names, resume=resume) for row in page]
        statement = update(table).values(
            {fold.name: bindparam(f"new_{fold.name}") for fold in replays(spec)}
        )
        for name in names:
            statement = statement.where(table.c[name] == bindparam(f"key_{name}"))
        connection.execute(statement, changed)


def _reduce_row(
    spec: ProjectionSpec, row: Mapping[str, Any], names: list[str], *, resume: bool
) -> dict[str, Any]:
    changed = {f"key_{name}": row[name] for name in names}
    for fold in replays(spec):
        state = row[f"state_{fold.name}"] if resume else None
        facts = row[f"facts_{fold.name}"]
        changed[f"new_{fold.name}"] = reduce_facts(fold, state, facts)
    return changed
