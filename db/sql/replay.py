"""Running a Replay's Python reducer over the ordered facts of a key."""

import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    select,
    update,
)

from db.declare import Replay
from db.declare.projections import ProjectionSpec
from db.sql.columns import state_table
from db.sql.fold import everything, fold_select, just_written, within_range
from db.sql.keys import among, outside
from db.sql.statements import cached_by_events

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
    events: frozenset[str],
    late: Table | None,
) -> None:
    """Go on from the stored states with the facts of a range, except for late keys.

    `late` None: no key can be late, and only the range says what is new.
    """
    if replays(spec):
        _run(connection, spec, _new_facts(spec, events, late), bounds, resume=True)


def rebuild(connection: Connection, spec: ProjectionSpec, keys: Table | None) -> None:
    """Recompute the states of these keys, or all, from all their facts."""
    if replays(spec):
        _run(connection, spec, _all_facts(spec, keys), {}, resume=False)


@cached_by_events
def _new_facts(
    spec: ProjectionSpec, events: frozenset[str], late: Table | None
) -> Select[Any]:
    restrict = within_range if late is None else outside(spec, late, just_written)
    return _with_state(spec, fold_select(spec, restrict, events=events))


@cache
def _all_facts(spec: ProjectionSpec, keys: Table | None) -> Select[Any]:
    restrict = everything if keys is None else among(spec, keys)
    return _with_state(spec, fold_select(spec, restrict))


def _with_state(spec: ProjectionSpec, rows: Select[Any]) -> Select[Any]:
    """Keys, the facts of each Replay and its stored state."""
    table = state_table(spec)
    names = names_of(spec)
    folded = rows.subquery("folded")
    same = and_(*(table.c[name] == folded.c[name] for name in names))
    columns = [folded.c[name] for name in names]
    for fold in replays(spec):
        columns += [folded.c[fold.name].label(f"facts_{fold.name}")]
        columns += [table.c[fold.name].label(f"state_{fold.name}")]
    return select(*columns).select_from(folded.join(table, same))


def _run(
    connection: Connection,
    spec: ProjectionSpec,
    query: Select[Any],
    bounds: Mapping[str, int],
    *,
    resume: bool,
) -> None:
    names = names_of(spec)
    result = connection.execute(query, bounds, execution_options={"yield_per": _PAGE})
    for page in result.mappings().partitions(_PAGE):
        changed = [_reduce_row(spec, row, names, resume=resume) for row in page]
        connection.execute(_update(spec), changed)


@cache
def _update(spec: ProjectionSpec) -> Update:
    table = state_table(spec)
    statement = update(table).values(
        {fold.name: bindparam(f"new_{fold.name}") for fold in replays(spec)}
    )
    for name in names_of(spec):
        statement = statement.where(table.c[name] == bindparam(f"key_{name}"))
    return statement


def names_of(spec: ProjectionSpec) -> list[str]:
    """The columns that name a row."""
    return ["source", *spec.keys]


def _reduce_row(
    spec: ProjectionSpec, row: RowMapping, names: list[str], *, resume: bool
) -> dict[str, Any]:
    changed = {f"key_{name}": row[name] for name in names}
    for fold in replays(spec):
        state = row[f"state_{fold.name}"] if resume else None
        facts = row[f"facts_{fold.name}"]
        changed[f"new_{fold.name}"] = reduce_facts(fold, state, facts)
    return changed
