"""OpenAPI descriptions of the routes about commands, without their answers."""

from typing import Any

from api.schemas import CHAIN_PARAMETER, UNITS_PARAMETER, Schema
from api.writes import KEY_HEADER
from commands.lane import SIGNED_BYTES_MAX
from db.commands.states import State


def _asked(name: str, schema: Schema, meaning: str) -> Schema:
    return {"in": "query", "name": name, "schema": schema, "description": meaning}


def _body(required: str, schema: Schema) -> Schema:
    content: Schema = {
        "type": "object", "required": [required], "additionalProperties": False,
        "properties": {required: schema},
    }  # fmt: skip
    return {"required": True, "content": {"application/json": {"schema": content}}}


def _answer(description: str, schema: str) -> Schema:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "description": description,
        "content": {"application/json": {"schema": reference}},
    }


SIGNED = "^(0x([0-9a-fA-F]{2})+|([A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2})$"
_SIGNED = _body(
    "raw",
    {
        "type": "string",
        "pattern": SIGNED,
        "minLength": 4,
        "maxLength": 2 + 2 * SIGNED_BYTES_MAX,
        "description": "What the wallet has signed: 0x… of an EVM chain, at most "
        f"{SIGNED_BYTES_MAX} bytes; base64 of Solana, at most 1232 bytes.",
    },
)
_RELAYED = (
    "A transaction that a wallet has signed whole, and no command asked for: of an EVM "
    "chain a call of a contract that is followed; of Solana, legacy or of version 0, "
    "with a recent blockhash, calls of programs that are followed, and guards and fees "
    "that are listed under [wallets.solana]. It is stored, sent until it is final or "
    "can land no more, and told of as a command of the kind `relay`. The same bytes "
    "are one command."
)
_WAIT = [
    _asked(
        "wait",
        {"type": "number", "minimum": 0, "maximum": 9999},
        "Seconds to wait at most, a minute for any more.",
    ),
    _asked(
        "until",
        {"type": "string", "enum": ["signed", "included", "final"]},
        "What is waited for.",
    ),
]
_NARROWER = [
    _asked(
        "state", {"type": "string", "enum": list(State)}, "May be given repeatedly."
    ),
    _asked(
        "kind", {"type": "string", "maxLength": 200}, "As in the path of its route."
    ),
    _asked("signer", {"type": "string", "maxLength": 200}, "Its name."),
    _asked("after", {"type": "string", "format": "uuid"}, "`next` of the page before."),
]
_ONE = {"200": _answer("Its state, read now.", "CommandAnswer")}
_TAKEN = {
    **_ONE, "202": _answer("Taken: it happens at most once.", "CommandAnswer"),
}  # fmt: skip
_STREAM = {
    "200": {
        "description": "Each step as it comes.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def described(name: str, page_size_max: int) -> dict[str, Any]:
    """The parameters, body and answers of a route, by the name of its view."""
    limit = {"type": "integer", "minimum": 1, "maximum": page_size_max}
    size = _asked("limit", limit, "How many at most.")
    found: dict[str, dict[str, Any]] = {
        "list_all": {
            "parameters": [*_NARROWER, size, UNITS_PARAMETER],
            "responses": {"200": _answer("Newest first.", "CommandPage")},
        },
        "show": {"parameters": [*_WAIT, UNITS_PARAMETER], "responses": _ONE},
        "stream": {"responses": _STREAM},
        "retry": {"parameters": [KEY_HEADER], "responses": _TAKEN},
        "signed": {"requestBody": _SIGNED, "responses": _TAKEN},
        "relay": {
            "description": _RELAYED, "parameters": [KEY_HEADER, CHAIN_PARAMETER],
            "requestBody": _SIGNED, "responses": _TAKEN,
        },
    }  # fmt: skip
    description = found.get(name, {"responses": _ONE})
    problem = {"$ref": "#/components/responses/Problem"}
    return {
        **description,
        "responses": {**description["responses"], "default": problem},
    }
