"""A declaration as people read it: columns, where they come from, and the SQL."""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from db.declare import Event, Projection
from db.declare.events import FieldRef
from db.declare.expressions import Constant
from db.declare.folds import Contribution
from db.registry import Registry
from db.sql.columns import fact_table, state_table
from db.sql.fold import everything, fold_select
from db.sql.merge import merge_statement


def describe_all(registry: Registry) -> Iterator[str]:
    """One line for each projection and event."""
    yield "projections (rows people read)"
    for plural, projection in registry.projections.items():
        yield f"  {plural:<24} {_summary(projection.spec.doc)}"
    yield "events (facts they are folded from)"
    for event in registry.events.values():
        yield f"  {event.spec.table:<40} {_summary(event.spec.doc)}"


def describe_projection(projection: type[Projection], *, sql: bool) -> Iterator[str]:
    """A projection's keys, folds and row expressions, and the SQL that follows."""
    spec = projection.spec
    yield f"{spec.plural} ({spec.domain}.{spec.name}): {_summary(spec.doc)}"
    yield f"  view public.{spec.plural}, GET /api/v1/{spec.plural}"
    if not spec.in_journal:
        yield f"  {'chain':<20} key          its name in the settings"
    for key, field in spec.keys.items():
        yield f"  {key:<20} key          {field.describe()}"
    for name, fold in spec.folds.items():
        sources = ", ".join(dict.fromkeys(map(_source, fold.contributions)))
        yield f"  {name:<20} {type(fold).__name__:<12} {sources}"
    for name, expression in spec.expressions.items():
        yield f"  {name:<20} on read      {expression.describe()}"
    if sql:
        events = frozenset(event.spec.id for event in spec.events)
        yield _sql(CreateTable(state_table(spec)))
        yield f"-- all rows from facts\n{_sql(fold_select(spec, everything))}"
        if not spec.replayed:
            yield f"-- the merge of a range\n{_sql(merge_statement(spec, events))}"


def describe_event(event: type[Event], *, sql: bool) -> Iterator[str]:
    """An event's signature and fields."""
    spec = event.spec
    yield f"{spec.table} ({spec.id}): {_summary(spec.doc)}"
    yield f"  {spec.source.signature(spec.schema)} of {spec.source.name}"
    for remark in spec.source.remarks:
        yield f"  {spec.source.name}: {remark}"
    for name in spec.source.makers:
        yield f"  {spec.source.name} is announced by {name}"
    yield f"  view public.{spec.table}, GET /api/v1/events/{spec.table}"
    kind = type(spec.source).__name__.lower()
    for name, field in spec.fields.items():
        origin = f"the {kind}'s address" if field.emitter else field.param
        yield f"  {name:<20} {field.describe():<24} {origin}"
    if sql:
        yield _sql(CreateTable(fact_table(event)))


def _source(contribution: Contribution) -> str:
    """Describe the input of a fold: an event's field, a fixed value, or a count."""
    event, value = contribution.view.event.spec.name, contribution.value
    if isinstance(value, FieldRef):
        return f"{event}.{value.field.name}"
    if isinstance(value, Constant):
        return event if value.value == 1 and value.value is not True else (
            f"{event} as {value.value}"
        )  # fmt: skip
    # The domain's name before each event says nothing here.
    return re.sub(r"\b\w+\.(\w+\.\w+)", r"\1", value.describe())


def _sql(statement: Any) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect)).strip()


def _summary(doc: str) -> str:
    return doc.split("\n", 1)[0]
