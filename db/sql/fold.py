"""The one SELECT that merge, repair, as-of and verify reuse.

    SELECT source, <keys>, <fold columns>
    FROM (SELECT source, <keys>, position, <value of each fold, or NULL> FROM facts.a
          UNION ALL
          SELECT … FROM facts.b) AS facts
    GROUP BY source, <keys>

One branch for each view of an event; a fold's value stands in the branches that
contribute to it and is NULL in the others. `First` and `Latest` pack position and value
into one array, so that `min` and `max` find the value in one pass without a sort.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Numeric,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    collate,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by, array

from db.declare import (
    Count,
    CountDistinct,
    Expression,
    First,
    Fold,
    Kind,
    Latest,
    Max,
    Min,
    Replay,
    Stage,
    Sum,
)
from db.declare.events import EventView, FieldRef
from db.declare.projections import ProjectionSpec
from db.sql.columns import fact_table, is_digested, readable, sql_type
from db.sql.expressions import to_sql

Restrict = Callable[[EventView, Table], Sequence[ColumnElement[bool]]]

_PACKED: dict[Kind, type[BigInteger] | type[Numeric[Any]] | type[LargeBinary]] = {
    Kind.NUMERIC: Numeric,
    Kind.BIGINT: BigInteger,
    Kind.BOOLEAN: BigInteger,
    Kind.BYTES: LargeBinary,
    Kind.TEXT: LargeBinary,
    Kind.JSON: LargeBinary,
}


@dataclass(frozen=True, slots=True)
class Branch:
    """One arm of the union: a view of an event and what it brings to each fold."""

    view: EventView
    values: dict[str, Expression] = field(default_factory=dict)


def branches(
    spec: ProjectionSpec, events: Collection[str] | None = None
) -> list[Branch]:
    """The arms of a projection's union, for all its events or those with these ids."""
    found: list[Branch] = []
    for fold in spec.folds.values():
        for contribution in fold.contributions:
            view = contribution.view
            if events is not None and view.event.spec.id not in events:
                continue
            for branch in found:
                same = branch.view.identity() == view.identity()
                if same and fold.name not in branch.values:
                    break
            else:
                branch = Branch(view)
                found.append(branch)
            branch.values[fold.name] = contribution.value
    return found


def within_range(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
    """Facts of one source between two positions; binds source, lowest, highest."""
    return [
        table.c.source == bindparam("source", type_=table.c.source.type),
        table.c.position.between(
            bindparam("lowest", type_=BigInteger),
            bindparam("highest", type_=BigInteger),
        ),
    ]


def just_written(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
    """Facts in a range that this transaction wrote, and no other that ran beside it."""
    own = literal_column("xmin") == literal_column("pg_current_xact_id()::xid")
    return [*within_range(view, table), own]


def everything(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
    """All facts of all sources."""
    return []


def key_columns(view: EventView, keys: Collection[str]) -> list[ColumnElement[Any]]:
    """The columns of a view's fact table that fill a projection's keys, so labelled."""
    table = fact_table(view.event)
    found: list[ColumnElement[Any]] = []
    for key in keys:
        column = view.field_for_key(key)
        assert column is not None  # the declaration was checked at import
        found.append(table.c[column.name].label(key))
    return found


def view_condition(view: EventView) -> list[ColumnElement[bool]]:
    """The view's own condition in SQL."""
    if view.condition is None:
        return []
    return [to_sql(view.condition, _field_column)]


def facts_union(
    spec: ProjectionSpec, arms: Sequence[Branch], restrict: Restrict
) -> FromClause:
    """The union of the arms, as a subquery named `facts`."""
    selects = []
    for branch in arms:
        table = fact_table(branch.view.event)
        values = [
            _branch_value(fold, branch).label(f"v_{fold.name}")
            for fold in spec.folds.values()
        ]
        selects.append(
            select(
                table.c.source,
                *key_columns(branch.view, spec.keys),
                table.c.position,
                *values,
            ).where(*view_condition(branch.view), *restrict(branch.view, table))
        )
    if len(selects) == 1:
        return selects[0].subquery("facts")
    return union_all(*selects).subquery("facts")


def fold_select(
    spec: ProjectionSpec,
    restrict: Restrict,
    *,
    events: Collection[str] | None = None,
    stored: Table | None = None,
) -> Select[Any]:
    """The rows that a set of facts folds to.

    Columns: source, keys, then those of `fold_columns` for each fold. A Replay's column
    is the list of its facts in order, for `db.sql.replay` to reduce. With `stored`, a
    Stage goes on from the row stored for the key instead of from its first state.
    """
    arms = branches(spec, events)
    facts = facts_union(spec, arms, restrict)
    columns: list[ColumnElement[Any]] = []
    for fold in spec.folds.values():
        everywhere = all(fold.name in branch.values for branch in arms)
        columns.extend(_aggregates(fold, facts, everywhere))
    group = [facts.c.source, *(facts.c[key] for key in spec.keys)]
    grouped = select(*group, *columns).group_by(*group)
    stages = [fold for fold in spec.folds.values() if isinstance(fold, Stage)]
    return _run_stages(spec, grouped, stages, stored) if stages else grouped


def member_value(fold: CountDistinct, facts: FromClause) -> ColumnElement[Any]:
    """A value to be counted, as the table of values holds it."""
    value: ColumnElement[Any] = facts.c[f"v_{fold.name}"]
    if not is_digested(fold):
        return value
    if fold.member.kind is not Kind.BYTES:
        value = func.convert_to(cast(value, Text), "UTF8")
    return func.sha256(value, type_=LargeBinary)


def _field_column(leaf: Expression) -> ColumnElement[Any]:
    assert isinstance(leaf, FieldRef)
    table = fact_table(leaf.view.event)
    if leaf.field.name == "height":
        return table.c.position.op(">>")(32)
    return table.c[leaf.field.name]


def _branch_value(fold: Fold, branch: Branch) -> ColumnElement[Any]:
    """Return the value that one arm gives to one fold, NULL when it gives none."""
    kind = sql_type(_value_kind(fold))
    if fold.name not in branch.values:
        return cast(null(), kind)
    if isinstance(fold, Replay):
        return _fact_object(branch.view)
    if isinstance(fold, Count):
        return literal_column("1")
    value = to_sql(branch.values[fold.name], _field_column)
    return cast(value, kind) if not isinstance(value.type, type(kind)) else value


def _value_kind(fold: Fold) -> Kind:
    if isinstance(fold, CountDistinct):
        return fold.member.kind
    return fold.kind


def _fact_object(view: EventView) -> ColumnElement[Any]:
    """A fact as a JSON object, for a Python reducer."""
    table = fact_table(view.event)
    pairs: list[Any] = [
        literal("event"), literal(view.event.spec.name),
        literal("position"), table.c.position,
        literal("block_time"), table.c.block_time,
    ]  # fmt: skip
    for name, declared in view.event.spec.fields.items():
        pairs += [literal(name), readable(declared, table.c[name])]
    return func.jsonb_build_object(*pairs, type_=JSONB())


def _aggregates(
    fold: Fold, facts: FromClause, everywhere: bool
) -> list[ColumnElement[Any]]:
    """The aggregate of each stored column of a fold: its `lift`."""
    value = facts.c[f"v_{fold.name}"]
    if isinstance(fold, Sum):
        return [func.coalesce(func.sum(value), 0).label(fold.name)]
    if isinstance(fold, CountDistinct):
        return [func.count(value.distinct()).label(fold.name)]
    if isinstance(fold, Count):
        return [func.count(value).label(fold.name)]
    if isinstance(fold, (Min, Max)):
        best = func.min if isinstance(fold, Min) else func.max
        return [best(ordered(fold, value)).label(fold.name)]
    present = value.is_not(None)
    if isinstance(fold, (First, Latest)):
        extreme = func.min if isinstance(fold, First) else func.max
        packed: Any = extreme(pack(fold.kind, facts.c.position, value))
        at: Any = extreme(facts.c.position)
        if not everywhere or not isinstance(_only_value(fold), FieldRef):
            packed, at = packed.filter(present), at.filter(present)
        return [
            unpack(fold.kind, packed).label(fold.name),
            at.label(f"{fold.name}_at"),
        ]
    if isinstance(fold, Replay):
        by_position = aggregate_order_by(value, facts.c.position)
        history: Any = func.jsonb_agg(by_position).filter(present)
    else:
        # Of one fact's moves, the one that was written first.
        tag = cast(value, Integer)
        history = func.array_agg(aggregate_order_by(value, facts.c.position, tag))
        history = history.filter(present)
    at = func.max(facts.c.position).filter(present)
    return [history.label(fold.name), at.label(f"{fold.name}_at")]


def ordered(fold: Fold, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value to be compared: text by code points, whatever the database's order."""
    return collate(value, "C") if fold.kind is Kind.TEXT else value


def _only_value(fold: Fold) -> Expression | None:
    """A fold's value when every contribution is a plain field, which is never NULL."""
    values = [c.value for c in fold.contributions]
    return values[0] if all(isinstance(v, FieldRef) for v in values) else None


def pack(
    kind: Kind, at: ColumnElement[Any], value: ColumnElement[Any]
) -> ColumnElement[Any]:
    """Position and value as one array that sorts by position."""
    if kind is Kind.NUMERIC:
        return array([cast(at, Numeric), cast(value, Numeric)])
    if kind is Kind.BIGINT:
        return array([at, cast(value, BigInteger)])
    if kind is Kind.BOOLEAN:
        return array(
            [at, case((value, literal_column("1")), else_=literal_column("0"))]
        )
    if kind is Kind.JSON:
        value = cast(value, Text)
    if kind is not Kind.BYTES:
        value = func.convert_to(value, "UTF8")
    return array([func.int8send(at), value])


def unpack(kind: Kind, packed: ColumnElement[Any]) -> ColumnElement[Any]:
    """The value of a packed array, NULL of NULL."""
    typed: Any = func.coalesce(packed, null(), type_=ARRAY(_PACKED[kind]))
    value = typed[2]
    if kind is Kind.BOOLEAN:
        return cast(value == 1, Boolean)
    if kind is Kind.TEXT:
        return func.convert_from(value, "UTF8", type_=Text())
    if kind is Kind.JSON:
        return cast(func.convert_from(value, "UTF8", type_=Text()), JSONB)
    return cast(value, Numeric) if kind is Kind.NUMERIC else value


def _run_stages(
    spec: ProjectionSpec,
    grouped: Select[Any],
    stages: Sequence[Stage],
    stored: Table | None,
) -> Select[Any]:
    """Replace each Stage's moves by where they lead and how many are refused."""
    rows = grouped.subquery("grouped")
    origin: FromClause = rows
    if stored is not None:
        keys = ["source", *spec.keys]
        same = [rows.c[key] == stored.c[key] for key in keys]
        origin = rows.outerjoin(stored, and_(*same))
    columns: list[ColumnElement[Any]] = [rows.c.source, *(rows.c[k] for k in spec.keys)]
    for fold in spec.folds.values():
        if fold not in set(stages):
            columns += [c for c in rows.c if c.name in (fold.name, f"{fold.name}_at")]
            continue
        assert isinstance(fold, Stage)
        start: ColumnElement[Any] = literal("")
        if stored is not None:
            start = func.coalesce(stored.c[fold.name], "")
        moved: Any = func.control.stage_fold(
            rows.c[fold.name],
            start,
            literal(fold.table, type_=JSONB()),
            type_=ARRAY(Text),
        )
        columns += [
            moved[1].label(fold.name),
            cast(moved[2], BigInteger).label(f"{fold.name}_refused"),
            rows.c[f"{fold.name}_at"],
        ]
    return select(*columns).select_from(origin)
