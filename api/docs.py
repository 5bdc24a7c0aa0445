"""The documentation page: one HTML document, made from the declarations, no scripts."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from html import escape
from typing import Any

from flask import Blueprint, Response

from api.docs_routes import routes_sections
from api.errors import PROBLEMS
from api.parameters import usable
from api.service import PREFIX, Service
from db import reads
from db.declare import Event
from db.declare.events import EventSpec
from db.declare.projections import ProjectionSpec
from db.declare.readers import readers

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto;
  padding: 1rem 1.25rem 4rem }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) }
h3 { margin: 2.5rem 0 .25rem }
h3, p, li, dt { overflow-wrap: anywhere }
code { font: .9em ui-monospace, monospace; background: var(--soft);
  padding: .1em .3em; border-radius: .2em }
pre { background: var(--soft); padding: .75rem 1rem; overflow-x: auto }
pre code { background: none; padding: 0 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0;
  border-bottom: 1px solid var(--line) }
.wide { overflow-x: auto }
dt { margin-top: .75rem }
dd { margin: 0 0 0 1.25rem }
nav li { display: inline-block; margin-right: 1rem }
nav ul { padding: 0 }
"""
_FORMS = {
    reads.ValueForm.HEX: "<code>0x…</code>",
    reads.ValueForm.BASE58: "base58",
    reads.ValueForm.DECIMAL: "decimal string",
    reads.ValueForm.NUMBER: "number",
    reads.ValueForm.BOOLEAN: "true, false",
    reads.ValueForm.TEXT: "text",
    reads.ValueForm.JSON: "JSON",
}
_READING = f"""
<p>Everything here follows from what the chains say. Every answer names the block it is
true for:</p>
<pre><code>{{"data": […], "block": {{"chain": "devnet", "height": 812,
  "hash": "0x…", "time": "2026-01-01T00:00:00Z", "final": true, "exact": true}},
  "next": "…"}}</code></pre>
<ul>
<li><code>final</code>: the block cannot be undone.</li>
<li><code>exact</code>: false while blocks above it are written in part, as during a
backfill; the rows are then the state at no block. Ask with <code>as_of</code>.</li>
<li><code>?as_of=&lt;height&gt;</code> answers as it was at the end of that block. A
block that is not indexed yet is refused, never answered in part.</li>
<li><code>?chain=&lt;name&gt;</code> is needed only where several chains are
followed.</li>
<li>Lists come in pages: give <code>next</code> back as <code>?after=</code>. Pages of
the live state may be of different blocks; keep <code>as_of</code> the same for one
moment.</li>
<li>Rows are listed with the newest first where an index has the time at which they
began, else by key; facts by position, the newest first.
<code>?sort=-column</code> sorts downwards; rows without a value come last either
way.</li>
<li>A filter that is given several times finds any of its values:
<code>?stage=active&amp;stage=funded</code>. A word that a column never has is refused,
with those that it may have as <code>choices</code>.</li>
<li><code>?count=true</code> adds <code>count</code>: the rows of all pages, counted up
to 10,000; <code>exact</code> is false when there are more.</li>
<li>Facts of a time: <code>?since=2026-01-01&amp;until=2026-02-01T00:00:00Z</code>, from
the one on and before the other, in RFC 3339, as a date, or in seconds since 1970; so
are the times of rows (<code>created_at__gte</code>).</li>
<li>Facts are filtered by all that they hold. Where there is no index, 20,000 facts are
looked at for a page, and <code>scan</code> says so: a page that stopped there may be
short, empty even, and has a <code>next</code> to go on with.</li>
<li>What a value means has one form, which filters and commands take too: amounts as
decimal strings in units (<code>"5000.5"</code>), shares of one (<code>"0.03"</code>),
times in RFC 3339, durations of ISO 8601 (<code>"P90D"</code>), codes as text.
<code>?units=raw</code> gives and takes what is stored: whole numbers, as strings.
Counts, heights and integers of up to 48 bits are numbers, wider ones decimal
strings.</li>
<li>Send an answer's <code>ETag</code> back as <code>If-None-Match</code>: until there
is a new block the answer is an empty 304.</li>
</ul>
<p>For programs: <a href="{PREFIX}/openapi.json">OpenAPI 3.1</a>,
<a href="{PREFIX}/">an index</a>, <a href="{PREFIX}/chains">the chains</a>,
<a href="/health/ready">health</a>.</p>
"""


def docs_blueprint(
    service: Service, document: Callable[[], Mapping[str, Any]]
) -> Blueprint:
    """`GET /docs`; `document` gives the OpenAPI document once all routes are there."""
    blueprint = Blueprint("docs", __name__)

    @cache
    def page() -> str:
        return docs_page(service, document())

    def show_docs() -> Response:
        """The documentation."""
        answer = Response(page(), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
            "base-uri 'none'; form-action 'none'"
        )
        return answer

    blueprint.add_url_rule("/docs", view_func=show_docs)
    return blueprint


def docs_page(service: Service, document: Mapping[str, Any]) -> str:
    """The documentation of everything that is declared, as HTML."""
    specs = [p.spec for p in service.registry.projections.values()]
    events = list(service.registry.events.values())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>Chainfold API</title><style>{_STYLE}</style>",
        "<h1>Chainfold API</h1>",
        _contents("Tables", [spec.plural for spec in specs]),
        _contents("Events", [event.spec.table for event in events]),
        "<h2 id=reading>Reading</h2>",
        _READING,
        "<h2 id=tables>Tables</h2>",
        *(_projection(spec) for spec in specs),
        "<h2 id=events>Events</h2>",
        *(_event(event, specs) for event in events),
        routes_sections(
            document,
            {*(s.plural for s in specs), *(f"event_{e.spec.table}" for e in events)},
        ),
        "<h2 id=problems>Problems</h2>",
        "<p>Failures are <code>application/problem+json</code> (RFC 9457).</p>",
        _problems(),
    ]
    return "\n".join(parts)


def _contents(title: str, names: Iterable[str]) -> str:
    links = "".join(f"<li><a href='#{name}'>{name}</a></li>" for name in names)
    return f"<nav><strong>{title}</strong><ul>{links}</ul></nav>"


def _projection(spec: ProjectionSpec) -> str:
    path = "/".join(f"&lt;{key}&gt;" for key in spec.keys)
    return "\n".join(
        [
            f"<h3 id='{spec.plural}'>{spec.plural}</h3>",
            _paragraphs(spec.doc),
            _private(spec),
            f"<p><code>GET {PREFIX}/{spec.plural}</code><br>",
            f"<code>GET {PREFIX}/{spec.plural}/{path}</code></p>",
            _filters(
                usable(reads.row_filters(spec)),
                reads.sortable(spec),
                reads.default_sort(spec),
            ),
            _columns(reads.row_columns(spec)),
        ]
    )


def _private(spec: ProjectionSpec) -> str:
    if not spec.in_journal:
        return ""
    who = readers(spec.readable_by, spec.owned_by)
    return f"<p>Folded from the journal, for {escape(who)}.</p>"


def _event(event: type[Event], specs: list[ProjectionSpec]) -> str:
    spec = event.spec
    filters = usable(reads.fact_filters(event, specs))
    return "\n".join(
        [
            f"<h3 id='{spec.table}'>{spec.table}</h3>",
            _paragraphs(spec.doc),
            f"<p>{_writer(spec)}</p>",
            f"<p><code>GET {PREFIX}/events/{spec.table}</code></p>",
            _filters(
                filters, ["position"], "-position", reads.indexed_filters(event, specs)
            ),
            _columns(reads.fact_columns(event)),
        ]
    )


def _writer(spec: EventSpec) -> str:
    if spec.in_journal:
        who = readers(spec.readable_by, spec.owned_by)
        return f"An entry of the journal, for {escape(who)}."
    return f"Written by {escape(spec.source.name)}."


def _paragraphs(doc: str) -> str:
    return "".join(f"<p>{escape(part.strip())}</p>" for part in doc.split("\n\n"))


def _filters(
    filters: Mapping[str, reads.Column],
    sorts: Iterable[str],
    default: str,
    indexed: Iterable[str] = (),
) -> str:
    plain = [name for name in filters if not name.endswith(("__gte", "__lte"))]
    ranged = [name for name in filters if name.endswith("__gte")]
    between = (
        f" (and {_names(name.removesuffix('__gte') for name in ranged)} with "
        "<code>__gte</code> and <code>__lte</code> behind the name)"
        if ranged
        else ""
    )
    index = f" An index has {_names(indexed)}." if indexed else ""
    return (
        f"<p>Filter by {_names(plain)}{between}.{index} Sort by {_names(sorts)}; "
        f"<code>{escape(default)}</code> if nothing is said. As of a block, rows are "
        "filtered and sorted by key only.</p>"
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(name)}</code>" for name in names)


def _columns(columns: Mapping[str, reads.Column]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{_form(column)}"
        f"{' or null' if column.nullable else ''}<td>{escape(column.origin)}"
        for name, column in columns.items()
    )
    head = "<tr><th>column<th>value<th>from"
    return f"<div class=wide><table>{head}{rows}</table></div>"


def _form(column: reads.Column) -> str:
    meaning = column.field.meaning
    if column.in_units and meaning is not None:
        return escape(meaning.described())
    return _FORMS[column.form]


def _problems() -> str:
    rows = "".join(
        f"<tr id='{name}'><td><code>{name}</code><td>{kind.status}<td>"
        f"{escape(kind.meaning)}"
        for name, kind in PROBLEMS.items()
    )
    table = f"<table><tr><th>type<th>status<th>meaning{rows}</table>"
    return f"<div class=wide>{table}</div>"
