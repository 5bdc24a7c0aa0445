"""The pages of what is declared: events with their fields, and projections."""

from collections.abc import Iterable
from itertools import groupby

from api.service import PREFIX
from db.declare import Event, Projection
from db.declare.events import EventSpec
from db.declare.projections import ProjectionSpec
from db.declare.readers import readers
from db.reads import (
    Column,
    default_sort,
    fact_columns,
    row_columns,
    row_filters,
    sortable,
)
from db.registry import Registry
from db.sql.meanings import view_type
from ops.docs.markdown import code, page, paragraphs, summary, table

IN_JSON = {
    "hex": "`0x…`",
    "base58": "base58",
    "decimal": "decimal string",
    "number": "number",
    "boolean": "true, false",
    "text": "text",
    "json": "JSON",
}


def events_page(registry: Registry | None = None) -> str:
    """Every event, by the contract that writes it."""
    events = sorted(
        (registry or Registry.load()).events.values(),
        key=lambda event: (event.spec.domain, event.spec.source.name, event.spec.name),
    )
    parts = []
    for (domain, contract), found in groupby(
        events, key=lambda event: (event.spec.domain, event.spec.source.name)
    ):
        parts.append(f"## {contract} ({domain})")
        listed = list(found)
        parts += listed[0].spec.source.remarks
        parts += [_event(event) for event in listed]
    return page(
        "Events",
        "What the chains can say, one table of facts for each. Every fact also has "
        "`chain`, `height`, `position`, `block_time` (a time) and "
        "`transaction`; facts are never changed, and undone only with their block. "
        "Events of contracts in the settings (an ABI and no code) come on top, with "
        "every parameter as a column: `chainfold describe` lists them.",
        *parts,
    )


def projections_page(registry: Registry | None = None) -> str:
    """Every projection: its keys, its folds, and what is computed on read."""
    found = list((registry or Registry.load()).projections.values())
    return page(
        "Projections",
        "The tables folded from facts. Every row also has `chain`, which is part of "
        "its key; the answers of the API name the block that they are true for. `GET "
        "/docs` of a running API says the same, with the filters of its version.",
        table(
            ["table", "holds"],
            [
                (f"[{p.spec.plural}](#{p.spec.plural})", summary(p.spec.doc))
                for p in found
            ],
        ),
        *(_projection(projection) for projection in found),
    )


def _event(event: type[Event]) -> str:
    spec = event.spec
    sql = code(f"public.{spec.table}")
    lines = [
        f"### {spec.table}",
        paragraphs(spec.doc),
        (f"{_said(spec)}; view {sql}, {code(f'GET {PREFIX}/events/{spec.table}')}"),
    ]
    if spec.personal:
        kept = _names(spec.personal)
        lines.append(f"Kept apart, under the person's own key: {kept}.")
    if spec.where:
        taken = ", ".join(f"{name} is {value!r}" for name, value in spec.where.items())
        lines.append(f"Only the logs in which {taken}.")
    columns = fact_columns(event)
    rows = [(code(n), *_form(columns[n]), columns[n].origin) for n in spec.fields]
    if rows:
        lines.append(table(["column", "Postgres", "JSON", "parameter"], rows))
    return "\n\n".join(lines)


def _said(spec: EventSpec) -> str:
    """Return an event's name on the chain, or the readers of a journal entry."""
    if not spec.in_journal:
        return code(spec.source.signature(spec.schema))
    return f"Entry of the journal, for {readers(spec.readable_by, spec.owned_by)}"


def _projection(projection: type[Projection]) -> str:
    spec = projection.spec
    route = f"{PREFIX}/{spec.plural}"
    keys = "/".join(f"<{key}>" for key in spec.keys)
    folded = ", ".join(
        f"[{event.spec.name}](events.md#{event.spec.table})" for event in spec.events
    )
    return "\n\n".join(
        [
            f"## {spec.plural}",
            paragraphs(spec.doc),
            (
                f"View {code(f'public.{spec.plural}')}; {code(f'GET {route}')}, "
                f"{code(f'GET {route}/{keys}')}. Folded from {folded}."
                f"{_private(spec)}"
            ),
            _reading(spec),
            table(["column", "Postgres", "JSON", "is"], _columns(spec)),
        ]
    )


def _columns(spec: ProjectionSpec) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, column in row_columns(spec).items():
        meaning = column.origin
        if name in spec.keys:
            meaning = "**key**"
        elif name in spec.expressions:
            meaning = f"on read: {code(_bare(meaning))}"
        elif name in spec.folds and not column.origin.startswith("one of"):
            meaning = code(meaning)
        rows.append((code(name), *_form(column), meaning))
    return rows


def _form(column: Column) -> tuple[str, str]:
    """The column's type in Postgres, and its form in JSON."""
    null = " or null" if column.nullable else ""
    if column.in_units and column.field.meaning is not None:
        meaning = column.field.meaning
        return view_type(meaning), f"{meaning.described()}{null}"
    kind = "text" if column.form.value == "hex" else column.field.kind.value
    return kind, IN_JSON[column.form.value] + null


def _private(spec: ProjectionSpec) -> str:
    return (
        f" For {readers(spec.readable_by, spec.owned_by)}." if spec.in_journal else ""
    )


def _reading(spec: ProjectionSpec) -> str:
    """Return the filters and orders of rows."""
    filters = row_filters(spec)
    plain = [name for name in filters if not name.endswith(("__gte", "__lte"))]
    ranged = [name for name in plain if f"{name}__gte" in filters]
    between = (
        f" ({_names(ranged)} also with `__gte` and `__lte` behind the name)"
        if ranged
        else ""
    )
    default = code(default_sort(spec))
    return (
        f"Filter by {_names(plain)}{between}. Sort by {_names(sortable(spec))}; "
        f"{default} if nothing is said."
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def _bare(text: str) -> str:
    """An expression without the parentheses around the whole of it."""
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text
