"""JSON schemas of the API's answers, generated from the declarations.

They are plain JSON Schema 2020-12, as OpenAPI 3.1 takes it. Bodies are not made from
them: rows come from Postgres as text.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from api.errors import PROBLEMS
from api.parameters import VALUES_MOST, may_repeat
from db.declare import Event, Field, Int, Uint
from db.declare.meanings import GIVEN_LENGTH_MAX, Meaning
from db.declare.projections import ProjectionSpec
from db.proofs import HeaderProof, LogsProof
from db.reads import (
    COUNT_MOST,
    Column,
    ValueForm,
    fact_columns,
    form_of,
    row_columns,
)

Schema = dict[str, Any]

# Filters of facts that the index by position answers.
INDEXED = ("height__gte", "height__lte", "since", "until")
_TIME_FORM = "RFC 3339, a date (its beginning in UTC), or seconds since 1970."

BLOCK: Schema = {
    "type": "object",
    "description": "The block that the answer is true for.",
    "required": ["chain", "height", "hash", "time", "final", "exact"],
    "properties": {
        "chain": {"type": "string"},
        "height": {"type": "integer", "minimum": 0},
        "hash": {
            "type": ["string", "null"],
            "pattern": "^0x[0-9a-f]{64}$",
            "description": "null: the block's header was not remembered.",
        },
        "time": {"type": ["string", "null"], "format": "date-time"},
        "final": {"type": "boolean", "description": "Whether it cannot be undone."},
        "exact": {
            "type": "boolean",
            "description": "false: blocks above it are written in part, as during a "
            "backfill, and the rows are the state at no block. Ask with `as_of` for "
            "the exact state.",
        },
    },
}
META: Schema = {
    "type": "object",
    "description": "Absent where the answer is from the journal, which is no chain.",
    "properties": {
        "proof": {
            "type": "object",
            "description": "The lowest level of proof of the blocks that the answer "
            "was read from: how far headers were checked, and what shows that no log "
            "is missing.",
            "required": ["header", "logs"],
            "properties": {
                "header": {"enum": [level.word for level in HeaderProof]},
                "logs": {"enum": [level.word for level in LogsProof]},
            },
        }
    },
}
PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "enum": [f"/docs#{name}" for name in PROBLEMS],
        },
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}
CHAIN_PARAMETER: Schema = {
    "in": "query", "name": "chain", "schema": {"type": "string"},
    "description": "Required when several are followed that have it.",
}  # fmt: skip
UNITS_PARAMETER: Schema = {
    "in": "query", "name": "units", "schema": {"type": "string", "enum": ["raw"]},
    "description": "raw: amounts, shares, times and durations as the whole numbers "
    "that are stored, codes as hex.",
}  # fmt: skip
COUNT: Schema = {
    "type": "object",
    "description": "How many rows there are, where `count=true` asks for it. They are "
    f"counted up to {COUNT_MOST}; exact is false when there are more.",
    "required": ["rows", "exact"],
    "properties": {
        "rows": {"type": "integer", "minimum": 0, "maximum": COUNT_MOST},
        "exact": {"type": "boolean"},
    },
}
SCAN: Schema = {
    "type": "object",
    "description": "Where a filter has no index: how many facts are looked at for a "
    "page, and whether it stopped there. It may then have fewer rows than `limit`, "
    "none even, and `next` all the same: go on with it.",
    "required": ["facts_max", "stopped"],
    "properties": {
        "facts_max": {"type": "integer", "minimum": 1},
        "stopped": {"type": "boolean"},
    },
}
NEXT: Schema = {
    "type": ["string", "null"],
    "description": "Give it as `after` to get the next page; null at the end.",
}


def column_schema(column: Column) -> Schema:
    """The schema of one value."""
    schema = _form_schema(column)
    if column.choices:
        schema["enum"] = [*column.choices, *([None] if column.nullable else [])]
    if column.nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    schema["description"] = f"{schema.get('description', '')} {column.origin}".strip()
    return schema


def field_schema(field: Field) -> Schema:
    """The schema of a value that is given to a command."""
    if field.meaning is not None:
        schema = {**_meant_schema(field.meaning), "maxLength": GIVEN_LENGTH_MAX}
    else:
        schema = _schema_of(form_of(field), field)
    if isinstance(field, Uint | Int) and schema["type"] == "integer":
        schema["minimum"], schema["maximum"] = field.bounds()
    if field.max_length is not None and schema.get("type") == "string":
        hexed = form_of(field) is ValueForm.HEX
        schema["maxLength"] = 2 + 2 * field.max_length if hexed else field.max_length
    if form_of(field) is ValueForm.JSON and field.max_length is not None:
        schema["description"] = f"Any JSON, of {field.max_length} bytes at most."
    return schema


def _form_schema(column: Column) -> Schema:
    if column.in_units and column.field.meaning is not None:
        return _meant_schema(column.field.meaning)
    return _schema_of(column.form, column.field)


def _meant_schema(meaning: Meaning) -> Schema:
    return {**meaning.schema(), "description": meaning.sentence()}


def _schema_of(form: ValueForm, field: Field) -> Schema:
    if form is ValueForm.HEX:
        digits = "([0-9a-f]{2})*"
        if field.size is not None:
            digits = f"[0-9a-f]{{{field.size * 2}}}"
        return {"type": "string", "pattern": f"^0x{digits}$"}
    if form is ValueForm.BASE58:
        return {"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]+$"}
    if form is ValueForm.DECIMAL:
        return {"type": "string", "pattern": "^-?[0-9]+$"}
    if form is ValueForm.JSON:
        return {}
    types = {
        ValueForm.NUMBER: "integer",
        ValueForm.BOOLEAN: "boolean",
        ValueForm.TEXT: "string",
        ValueForm.TIME: "string",
    }
    return {"type": types[form]}


def object_schema(columns: Mapping[str, Column], doc: str) -> Schema:
    """The schema of a row or of a fact."""
    return {
        "type": "object",
        "description": doc,
        "required": list(columns),
        "additionalProperties": False,
        "properties": {name: column_schema(c) for name, c in columns.items()},
    }


def row_schema(spec: ProjectionSpec) -> Schema:
    """The schema of a projection's row."""
    return object_schema(row_columns(spec), spec.doc)


def fact_schema(event: type[Event]) -> Schema:
    """The schema of an event's fact."""
    return object_schema(fact_columns(event), event.spec.doc)


def answer_schema(name: str, *, many: bool, scanned: bool = False) -> Schema:
    """The envelope around a row, or around a page, of a named schema."""
    row: Schema = {"$ref": f"#/components/schemas/{name}"}
    properties: Schema = {
        "data": {"type": "array", "items": row} if many else row,
        "block": {"$ref": "#/components/schemas/Block"},
    }
    if many:
        properties["next"] = NEXT
    required = list(properties)
    properties["meta"] = {"$ref": "#/components/schemas/Meta"}
    if many:
        properties["count"] = {"$ref": "#/components/schemas/Count"}
    if scanned:
        properties["scan"] = {"$ref": "#/components/schemas/Scan"}
    return {"type": "object", "required": required, "properties": properties}


def parameters(
    filters: Mapping[str, Column] | None,
    sorts: Iterable[str],
    page_size: int,
    page_size_max: int,
    default_sorts: tuple[str, str] = ("", ""),
    indexed: Collection[str] | None = None,
) -> list[Schema]:
    """The query parameters of a list, or of one row when there are no filters.

    `indexed` are the fields that filters of facts have an index for; None: all.
    """
    found = [
        CHAIN_PARAMETER,
        _parameter(
            "as_of",
            {"type": "integer", "minimum": 0},
            "The height of the block whose end the answer is about; the checkpoint "
            "when it is left out.",
        ),
        UNITS_PARAMETER,
    ]
    if filters is None:
        return found
    choices = [f"{sign}{name}" for name in sorts for sign in ("", "-")]
    limit = {"type": "integer", "minimum": 1, "maximum": page_size_max}
    now, past = default_sorts
    order = "Minus: descending."
    if past != now:
        order += f" As of a block the default is {past}, and other columns are refused."
    found += [
        _parameter("sort", {"type": "string", "enum": choices, "default": now}, order),
        _parameter("limit", {**limit, "default": page_size}, "How many at most."),
        _parameter("after", {"type": "string"}, "`next` of the page before."),
        _parameter(
            "count", {"type": "boolean", "default": False},
            f"Whether to count the rows of all pages, up to {COUNT_MOST}.",
        ),
    ]  # fmt: skip
    return found + [
        _filter_parameter(name, column, filters, indexed)
        for name, column in filters.items()
    ]


def _filter_parameter(
    name: str,
    column: Column,
    filters: Mapping[str, Column],
    indexed: Collection[str] | None,
) -> Schema:
    schema = {k: v for k, v in _form_schema(column).items() if k != "pattern"}
    if column.choices:
        schema["enum"] = list(column.choices)
    if column.form is ValueForm.TIME:
        schema["examples"] = ["2026-01-31T12:00:00Z", "2026-01-31", "1769860800"]
    meaning = _filter_meaning(name)
    if may_repeat(name, filters):
        schema = {"type": "array", "items": schema, "maxItems": VALUES_MOST}
        meaning = "Exactly this; given several times, any of these."
    if column.form is ValueForm.TIME and name not in INDEXED:
        meaning += f" {_TIME_FORM}"
    if indexed is not None and name not in (*indexed, *INDEXED):
        meaning += " There is no index: see `scan` of the answer."
    return _parameter(name, schema, meaning)


def path_parameters(columns: Mapping[str, Column]) -> list[Schema]:
    """The parts of the path that name one row."""
    return [
        {**_parameter(name, _form_schema(c), c.origin), "in": "path", "required": True}
        for name, c in columns.items()
    ]


def _parameter(name: str, schema: Schema, meaning: str) -> Schema:
    return {"in": "query", "name": name, "schema": schema, "description": meaning}


def _filter_meaning(name: str) -> str:
    if name.endswith("__gte"):
        return "At least this."
    if name.endswith("__lte"):
        return "At most this."
    if name == "since":
        return f"Of blocks from this time on: {_TIME_FORM}"
    if name == "until":
        return f"Of blocks before this time: {_TIME_FORM}"
    return "Exactly this."
