"""Routes that take JSON: their bodies checked, their place in the OpenAPI document.

    class SignIn(Body, frozen=True):
        \"\"\"A login and its password.\"\"\"
        login: Login
        password: Password

    add_route(blueprint, "/token", view, body=SignIn, returns=TOKENS, summary="Sign in")

A body is a msgspec struct: unknown members are refused, and its JSON schema is what the
document says.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.errors import Problem
from db.bounded import Unreadable, load_strict_json

Schema = dict[str, Any]
# One of these is enough; a guest needs neither.
SIGNED_IN: list[Schema] = [{"bearer": []}, {"key": []}]
IN_SESSION: list[Schema] = [{"bearer": []}]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that a client sends; its repr is hidden, as it may hold secrets."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


B = TypeVar("B", bound=Body)


def read_body(kind: type[B]) -> B:
    """The request's body; raises the Problem `bad_body` or `too_large`."""
    content = request.get_data()
    cut_off = request.max_content_length or sys.maxsize
    if request.content_length is None and len(content) >= cut_off:
        raise Problem("too_large", "The body is larger than it may be. Send less.")
    try:
        given = load_strict_json(content, bytes_max=cut_off)
        return msgspec.convert(given, kind)
    except (msgspec.ValidationError, Unreadable) as error:
        raise Problem(
            "bad_body",
            f"{_reason(error)}. Send a JSON object as {kind.__name__} in the OpenAPI "
            "document has it.",
        ) from None


def add_route(
    blueprint: Blueprint,
    rule: str,
    view: Callable[..., Response],
    *,
    summary: str,
    method: str = "POST",
    body: type[Body] | None = None,
    returns: Schema | None = None,
    status: int = 200,
    security: list[Schema] | None = None,
    path: list[Schema] | None = None,
    media: str = "application/json",
) -> None:
    """Register a route with its entry in the OpenAPI document.

    `returns` is the schema of its answer, whose media type is `media`.
    """
    done: Schema = {"description": "Done."}
    if returns is not None:
        done["content"] = {media: {"schema": returns}}
    described: Schema = {
        "summary": summary,
        "description": (view.__doc__ or "").strip(),
        "operationId": view.__name__,
        "security": security or [],
        "responses": {
            str(status): done,
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if body is not None:
        reference = {"$ref": f"#/components/schemas/{body.__name__}"}
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference}},
        }
    blueprint.add_url_rule(
        rule,
        view.__name__,
        blueprint.doc(**described)(view),
        methods=[method],
        parameters=path,
    )


def text_parameter(name: str, meaning: str) -> Schema:
    """A part of a path."""
    return {
        "in": "path",
        "name": name,
        "required": True,
        "schema": {"type": "string"},
        "description": meaning,
    }


def shape(**properties: str | Schema) -> Schema:
    """The schema of an object all of whose members are there."""
    found: Schema = {
        name: {"type": kind} if isinstance(kind, str) else kind
        for name, kind in properties.items()
    }
    return {
        "type": "object",
        "required": list(found),
        "additionalProperties": False,
        "properties": found,
    }


def _reason(error: Exception) -> str:
    """Describe what is wrong with a body without showing its values."""
    if isinstance(error, msgspec.ValidationError):
        # A value that is not one of the choices is quoted; it may be a slip of the pen.
        text, _, place = str(error).partition(" - at ")
        if text.startswith("Invalid enum value"):
            text = "A value is not one of the choices"
        return f"{text} at {place}" if place else text
    return f"The body cannot be read: {error}"
