"""Schemas of the routes of settlement, and their descriptions in the API's document."""

from typing import Any

from api.auth.routes import SIGNED_IN
from api.schemas import Schema
from api.writes import KEY_HEADER

CENTS: Schema = {"type": "integer", "minimum": 0}
MICRO: Schema = {"type": "string", "pattern": "^-?[0-9]+$"}
PURCHASE: Schema = {"type": "string", "pattern": "^0x[0-9a-f]{32}$"}


def described(
    view: Any, schema: Schema, *, asked: Schema | None = None, signed_in: bool = False
) -> dict[str, Any]:
    """Describe a view by its docstring, and the schemas of its answer and body."""
    status = "201" if asked else "200"
    content = {"application/json": {"schema": schema}}
    summary, _, rest = (view.__doc__ or "").partition("\n")
    return {
        "summary": summary.strip(),
        "description": " ".join(rest.split()),
        "operationId": f"settlement_{view.__name__}",
        "security": SIGNED_IN if asked or signed_in else [],
        **({"requestBody": asked, "parameters": [KEY_HEADER]} if asked else {}),
        "responses": {
            status: {"description": "As asked.", "content": content},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
