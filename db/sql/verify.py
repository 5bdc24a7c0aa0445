"""Compare a projection's rows with its facts.

    SELECT coalesce(keys), stored row, folded row
    FROM state.p FULL OUTER JOIN (<fold of all facts>) USING (source, <keys>)
    WHERE any column IS DISTINCT FROM its counterpart

Run in one repeatable-read transaction: facts and rows agree at every commit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select

from db.declare import CountDistinct
from db.declare.projections import ProjectionSpec
from db.sql import replay
from db.sql.columns import member_folds, member_table, state_table
from db.sql.fold import everything, fold_select


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not what its facts fold to; None: the side has no such row."""

    projection: str
    keys: dict[str, Any]
    stored: dict[str, Any] | None
    expected: dict[str, Any] | None


def verify_select(spec: ProjectionSpec) -> Select[Any]:
    """The rows that differ, both sides' columns prefixed `_stored_` and `_folded_`."""
    table = state_table(spec)
    names = ["source", *spec.keys]
    folded = fold_select(spec, everything).subquery("folded")
    skipped = {fold.name for fold in replay.replays(spec)}
    columns = [c.name for c in table.columns if c.name not in names]
    compared = [name for name in columns if name not in skipped]
    on = and_(*(table.c[name] == folded.c[name] for name in names))
    differs = or_(
        table.c.source.is_(None),
        folded.c.source.is_(None),
        *(table.c[n].is_distinct_from(folded.c[n]) for n in compared),
    )
    selected = [func.coalesce(table.c[n], folded.c[n]).label(n) for n in names]
    selected += [table.c[n].label(f"_stored_{n}") for n in ["source", *columns]]
    selected += [folded.c[n].label(f"_folded_{n}") for n in ["source", *columns]]
    rows = select(*selected).select_from(table.join(folded, on, full=True))
    # A replayed state is compared in Python, so every row that has one is fetched.
    return rows if skipped else rows.where(differs)


def differences(connection: Connection, spec: ProjectionSpec) -> Iterator[Difference]:
    """Compare every row of a projection with its facts."""
    table = state_table(spec)
    columns = [c.name for c in table.columns if c.name not in ("source", *spec.keys)]
    replays = {fold.name: fold for fold in replay.replays(spec)}
    result = connection.execute(
        verify_select(spec), execution_options={"yield_per": 1000}
    )
    for row in result.mappings():
        stored = None
        expected = None
        if row["_stored_source"] is not None:
            stored = {name: row[f"_stored_{name}"] for name in columns}
        if row["_folded_source"] is not None:
            expected = {name: row[f"_folded_{name}"] for name in columns}
            for name, fold in replays.items():
                expected[name] = replay.reduce_facts(fold, None, expected[name])
        if stored != expected:
            keys = {name: row[name] for name in ("source", *spec.keys)}
            yield Difference(spec.name, keys, stored, expected)
    for counted in member_folds(spec):
        yield from _member_differences(connection, spec, counted)


def _member_differences(
    connection: Connection, spec: ProjectionSpec, fold: CountDistinct
) -> Iterator[Difference]:
    """Rows whose count is not the number of values remembered for them."""
    name = fold.name
    table, members = state_table(spec), member_table(spec, fold)
    names = ["source", *spec.keys]
    counted = (
        select(*(members.c[n] for n in names), func.count().label("_n"))
        .group_by(*(members.c[n] for n in names))
        .subquery("counted")
    )
    on = and_(*(table.c[n] == counted.c[n] for n in names))
    kept, seen = table.c[name], func.coalesce(counted.c["_n"], 0)
    query = (
        select(*(func.coalesce(table.c[n], counted.c[n]).label(n) for n in names))
        .add_columns(kept.label("_kept"), seen.label("_seen"))
        .select_from(table.join(counted, on, full=True))
        .where(kept.is_distinct_from(seen))
    )
    for row in connection.execute(query).mappings():
        keys = {n: row[n] for n in names}
        yield Difference(
            spec.name, keys, {f"{name}__values": row["_seen"]}, {name: row["_kept"]}
        )
