"""JSON answers, and the schemas of lists."""

from datetime import datetime
from typing import Any

import orjson
from flask import Response

from api.schemas import Schema
from db.declare.times import time_text

MOMENT: Schema = {"type": "string", "format": "date-time"}
MOMENT_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}


def json_answer(
    content: Any, status: int = 200, *, cache: str = "no-store"
) -> Response:
    """Return an answer in JSON; status 204 has no body."""
    body = b"" if status == 204 else orjson.dumps(content, option=orjson.OPT_UTC_Z)
    answer = Response(body, status, mimetype="application/json")
    answer.headers["Cache-Control"] = cache
    return answer


def list_answer(
    data: list[dict[str, Any]], following: object, *, cache: str = "no-store"
) -> Response:
    """Return a page of a list; `following` is the cursor of the next, None: none."""
    after = None if following is None else str(following)
    return json_answer({"data": data, "next": after}, cache=cache)


def list_schema(item: Schema) -> Schema:
    """Return the schema of a page of a list."""
    return {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": item},
            "next": {"type": ["string", "null"]},
        },
    }


def moment(at: datetime) -> str:
    """Return a moment in whole seconds, in RFC 3339."""
    return time_text(int(at.timestamp()))
