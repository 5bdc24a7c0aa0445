"""Transactions of followed programs that failed: when, of which program, and why.

    GET /api/v1/failed-transactions?chain=&program=&error=&before=&limit=

They come newest first. No table folds them: they changed nothing.
"""

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.routes import add_route
from api.json_answers import list_answer, list_schema
from api.parameters import bad_parameter, check_names, number
from api.schemas import Schema
from api.service import PREFIX, Service
from db.position import MAX_HEIGHT, MAX_ORDINAL, position
from db.reads import read
from db.solana.failures import failures
from idl.base58 import from_base58

_PARAMETERS = {
    "chain": "The chain's name in the settings; needed when there are several.",
    "program": "The program that failed, in base58.",
    "error": "Its name in the IDL, or as the node told it.",
    "before": "A position; `next` of the page before.",
    "limit": "Rows of a page.",
}
_FAILED: Schema = {
    "type": "object",
    "properties": {
        "position": {"type": "string"},
        "height": {"type": "integer"},
        "block_time": {"type": "string", "format": "date-time"},
        "transaction": {"type": "string"},
        "program": {"type": ["string", "null"]},
        "code": {"type": ["integer", "null"]},
        "error": {"type": "string"},
    },
}


def failures_blueprint(service: Service) -> Blueprint:
    """`GET /failed-transactions`."""
    blueprint = Blueprint(
        "failed_transactions", __name__, url_prefix=f"{PREFIX}/failed-transactions",
        description="Transactions of followed programs that failed.",
    )  # fmt: skip

    def list_failed_transactions() -> Response:
        """Failed transactions, the newest first."""
        given = request.args
        check_names([*_PARAMETERS])
        known = service.chains.all()
        of_solana = [n for n, c in known.items() if c.chain_id.startswith("solana:")]
        chain = service.chains.choose(given.get("chain"), among=of_solana)
        program = _program(given.get("program"))
        before = number("before", position(MAX_HEIGHT, MAX_ORDINAL))
        limit = number("limit", service.page_size_max) or service.page_size
        page, following = read(
            service.engine,
            lambda connection: failures(
                connection, chain.id, program=program, error=given.get("error"),
                before=before, limit=limit,
            ),
        )  # fmt: skip
        return list_answer(page, following, cache="no-cache")

    add_route(
        blueprint, "", list_failed_transactions, method="GET",
        summary="Failed transactions", returns=list_schema(_FAILED),
        path=[{"in": "query", "name": name, "schema": {"type": "string"},
               "description": about} for name, about in _PARAMETERS.items()],
    )  # fmt: skip
    return blueprint


def _program(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return from_base58(text, 32)
    except ValueError:
        raise bad_parameter("program", "program is not 32 bytes in base58.") from None
