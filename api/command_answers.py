"""Commands as the API shows them."""

from collections.abc import Sequence
from typing import Any

from flask import Response, request

from api.json_answers import json_answer, list_answer
from api.parameters import read_units
from api.schemas import Schema
from api.service import PREFIX, Service
from commands.arguments import shown_arguments
from db.commands.accept import CommandRow
from db.commands.listing import CommandEvent, SentTransaction
from db.commands.spelling import address_text, transaction_text
from db.commands.states import TERMINAL, State

EVENT: Schema = {
    "type": "object",
    "required": ["id", "at", "state", "details"],
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "state": {"type": "string", "enum": [state.value for state in State]},
        "details": {"type": "object"},
    },
}
COMMAND: Schema = {
    "type": "object",
    "required": ["id", "kind", "state", "final", "reason", "arguments", "created_at"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "kind": {"type": "string"},
        "state": {
            "type": "string",
            "enum": [state.value for state in State],
            "description": "What depends on the chain is said of indexed blocks only.",
        },
        "final": {
            "type": "boolean",
            "description": "Whether the state stays as it is.",
        },
        "late_outcome": {
            "type": ["string", "null"],
            "enum": ["succeeded", "reverted", None],
            "description": "What became of a call that its wallet sent although the "
            "command had ended without success: a wallet cannot be kept from sending. "
            "`transaction` and `height` are of that call then.",
        },
        "reason": {"type": "string"},
        "arguments": {"type": "object"},
        "signer": {"type": ["string", "null"]},
        "wallet": {"type": ["string", "null"]},
        "transaction": {"type": ["string", "null"]},
        "height": {"type": ["integer", "null"]},
        "asked_by": {"type": "string"},
        "cause": {"type": "string"},
        "created_at": {"type": "string", "format": "date-time"},
        "valid_until": {"type": ["string", "null"], "format": "date-time"},
        "version": {"type": "integer"},
        "events": {"type": "array", "items": EVENT},
        "sent": {"type": "array", "items": {"type": "object"}},
        "transaction_to_sign": {
            "type": "object",
            "description": "What the caller's wallet is to sign, and to give back to "
            "POST /commands/<id>/signed.",
        },
    },
}
ANSWER: Schema = {
    "type": "object",
    "required": ["data"],
    "properties": {"data": {"$ref": "#/components/schemas/Command"}},
}
PAGE: Schema = {
    "type": "object",
    "required": ["data", "next"],
    "properties": {
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Command"}},
        "next": {"type": ["string", "null"]},
    },
}


def as_object(service: Service, row: CommandRow) -> dict[str, Any]:
    """A command as JSON has it; its arguments as people read them, or ?units=raw."""
    arguments = row.arguments
    if read_units(request.args):
        arguments = shown_arguments(service.registry.commands, row.kind, arguments)
    return {
        "id": str(row.id),
        "kind": row.kind,
        "state": row.state,
        "final": row.state in TERMINAL,
        "late_outcome": row.late_outcome or None,
        "reason": row.reason,
        "arguments": arguments,
        "signer": row.signer,
        "wallet": None if row.sender is None else address_text(row.sender),
        "transaction": None
        if row.transaction is None
        else transaction_text(row.transaction),
        "height": row.height,
        "asked_by": row.asked_by,
        "cause": row.cause,
        "created_at": row.created_at,
        "valid_until": row.valid_until,
        "version": row.version,
    }


def event_object(event: CommandEvent) -> dict[str, Any]:
    """A line of a command's history as JSON has it."""
    return {
        "id": event.id,
        "at": event.at,
        "state": event.state,
        "details": event.details,
    }


def sent_object(sent: SentTransaction) -> dict[str, Any]:
    """A signed transaction as JSON has it; the price as a decimal string, in wei."""
    return {
        "hash": transaction_text(sent.hash),
        "purpose": sent.purpose,
        "signed_at": sent.signed_at,
        "gas_price": None if sent.gas_price is None else str(sent.gas_price),
        "sent_count": sent.sent_count,
        "answer": sent.answer,
    }


def command_answer(
    service: Service, row: CommandRow, *, fresh: bool | None = None, **extra: Any
) -> Response:
    """A command; `fresh` True: just taken, False: known by its key, None: read."""
    answer = json_answer({"data": {**as_object(service, row), **extra}})
    if fresh is not None:
        answer.headers["Location"] = f"{PREFIX}/commands/{row.id}"
    if fresh:
        answer.status_code = 202
    elif fresh is not None:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def page_of(
    service: Service, rows: Sequence[CommandRow], following: str | None
) -> Response:
    """A page of commands."""
    return list_answer([as_object(service, row) for row in rows], following)
