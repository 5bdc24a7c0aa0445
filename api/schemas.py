"""JSON schemas of the API's answers, generated from the declarations.

They are plain JSON Schema 2020-12, as OpenAPI 3.1 takes it. Bodies are not made from
them: rows come from Postgres as text.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from api.errors import PROBLEMS
from db.declare import Event, Field
from db.declare.projections import ProjectionSpec
from db.proofs import HeaderProof, LogsProof
from db.reads import Column, ValueForm, fact_columns, form_of, row_columns

Schema = dict[str, Any]

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
        "time": {"type": ["integer", "null"], "description": "Seconds since 1970."},
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
NEXT: Schema = {
    "type": ["string", "null"],
    "description": "Give it as `after` to get the next page; null at the end.",
}


def column_schema(column: Column) -> Schema:
    """The schema of one value."""
    schema = _form_schema(column)
    if column.nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    schema["description"] = column.meaning
    return schema


def field_schema(field: Field) -> Schema:
    """The schema of a value that is given to a command."""
    schema = _schema_of(form_of(field), field)
    if field.max_length is not None and schema.get("type") == "string":
        hexed = form_of(field) is ValueForm.HEX
        schema["maxLength"] = 2 + 2 * field.max_length if hexed else field.max_length
    if form_of(field) is ValueForm.JSON and field.max_length is not None:
        schema["description"] = f"Any JSON, of {field.max_length} bytes at most."
    return schema


def _form_schema(column: Column) -> Schema:
    return _schema_of(column.form, column.field)


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


def answer_schema(name: str, *, many: bool) -> Schema:
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
    return {"type": "object", "required": required, "properties": properties}


def parameters(
    filters: Mapping[str, Column] | None,
    sorts: Iterable[str],
    page_size: int,
    page_size_max: int,
) -> list[Schema]:
    """The query parameters of a list, or of one row when there are no filters."""
    found = [
        CHAIN_PARAMETER,
        _parameter(
            "as_of",
            {"type": "integer", "minimum": 0},
            "The height of the block whose end the answer is about; the checkpoint "
            "when it is left out.",
        ),
    ]
    if filters is None:
        return found
    choices = [f"{sign}{name}" for name in sorts for sign in ("", "-")]
    limit = {"type": "integer", "minimum": 1, "maximum": page_size_max}
    found += [
        _parameter("sort", {"type": "string", "enum": choices}, "Minus: descending."),
        _parameter("limit", {**limit, "default": page_size}, "How many at most."),
        _parameter("after", {"type": "string"}, "`next` of the page before."),
    ]
    for name, column in filters.items():
        schema = {k: v for k, v in _form_schema(column).items() if k != "pattern"}
        found.append(_parameter(name, schema, _filter_meaning(name)))
    return found


def path_parameters(columns: Mapping[str, Column]) -> list[Schema]:
    """The parts of the path that name one row."""
    return [
        {**_parameter(name, _form_schema(c), c.meaning), "in": "path", "required": True}
        for name, c in columns.items()
    ]


def _parameter(name: str, schema: Schema, meaning: str) -> Schema:
    return {"in": "query", "name": name, "schema": schema, "description": meaning}


def _filter_meaning(name: str) -> str:
    if name.endswith("__gte"):
        return "At least this."
    if name.endswith("__lte"):
        return "At most this."
    return "Exactly this."
