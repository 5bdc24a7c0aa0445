"""One shape for every failure: RFC 9457 problem details, and nothing that leaks.

    {"type": "/docs#not_yet_indexed", "title": "Not indexed yet", "status": 422,
     "detail": "Block 90 is not indexed: …", "instance": "/api/v1/campaigns",
     "checkpoint": 80}

`type` names the problem and resolves to its entry in the docs; `detail` ends with what
to do. What the database or Python said stays in the log.
"""

import logging
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from db import reads
from db.engine import Unavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of failure: its status, its title, and what it means."""

    status: int
    title: str
    meaning: str


PROBLEMS = {
    "bad_parameter": ProblemType(
        400, "Bad parameter", "A parameter has a value that it cannot have."
    ),
    "unknown_parameter": ProblemType(
        400, "Unknown parameter", "The route has no such parameter; `choices` has them."
    ),
    "bad_query": ProblemType(
        400, "Query not possible", "The parameters cannot be used together."
    ),
    "bad_cursor": ProblemType(
        400, "Cursor of another query", "`after` is not `next` of this query's pages."
    ),
    "chain_required": ProblemType(
        400, "Chain required", "Several chains are followed; `choices` has them."
    ),
    "unknown_chain": ProblemType(
        400, "Unknown chain", "The chain is not followed; `choices` has those that are."
    ),
    "no_such_row": ProblemType(
        404,
        "No such row",
        "Nothing on the chain has these keys, up to `block`.",
    ),
    "not_signed_in": ProblemType(
        401, "Not signed in", "The request has no valid credentials."
    ),
    "not_allowed": ProblemType(
        403, "Not allowed", "The account lacks a role; `roles` lists those that may."
    ),
    "bad_sign_in": ProblemType(401, "Sign-in refused", "The credentials are wrong."),
    "registration_closed": ProblemType(
        403, "Registration closed", "Accounts are opened by operators only."
    ),
    "weak_password": ProblemType(
        400, "Weak password", "The password is too easy to guess."
    ),
    "login_taken": ProblemType(409, "Login taken", "Another account has this login."),
    "wallet_taken": ProblemType(
        409, "Wallet taken", "The wallet belongs to another account."
    ),
    "issuer_unavailable": ProblemType(
        503, "Issuer unavailable", "The identity provider's keys cannot be fetched now."
    ),
    "bad_body": ProblemType(
        400, "Bad body", "The body does not fit the route's schema; see OpenAPI."
    ),
    "not_json": ProblemType(415, "Not JSON", "The body has another media type."),
    "bad_signature": ProblemType(
        400, "Bad signature", "The body is not signed with our secret, or not now."
    ),
    "bad_file": ProblemType(
        422, "File refused", "The file's type is not accepted, or it is incomplete."
    ),
    "no_such_document": ProblemType(
        404, "No such document", "There is none with this id that you may read."
    ),
    "wrong_document_status": ProblemType(
        409, "Wrong document status", "The document was decided or superseded before."
    ),
    "document_lost": ProblemType(
        410, "Document lost", "Its owner was erased, or the file is not there."
    ),
    "storage_unavailable": ProblemType(
        503, "Storage unavailable", "Files can be neither stored nor read now."
    ),
    "too_large": ProblemType(413, "Too large", "The body is larger than it may be."),
    "too_many_requests": ProblemType(
        429, "Too many requests", "Ask again after `retry_after` seconds."
    ),
    "not_found": ProblemType(404, "Not found", "There is no such route."),
    "quota_reached": ProblemType(
        409, "Quota reached", "The account has reached its limit of this."
    ),
    "slow_body": ProblemType(
        408, "Body not sent", "The request body did not arrive in time."
    ),
    "busy": ProblemType(
        503, "Busy", "The server is at its limit of requests; try again soon."
    ),
    "method_not_allowed": ProblemType(
        405, "Method not allowed", "The route answers other methods; see `Allow`."
    ),
    "not_yet_indexed": ProblemType(
        422, "Not indexed yet", "`as_of` is above `checkpoint`, the last block indexed."
    ),
    "bad_request": ProblemType(400, "Bad request", "The request cannot be read."),
    "bad_arguments": ProblemType(
        422, "Bad arguments", "`problems` lists everything that is wrong."
    ),
    "idempotency_key_missing": ProblemType(
        400, "Idempotency key missing", "A change needs an `Idempotency-Key`."
    ),
    "idempotency_key_reused": ProblemType(
        422, "Key of another request", "The key was used for something else before."
    ),
    "request_in_progress": ProblemType(
        409, "Request in progress", "A request with the same key is being processed."
    ),
    "rules_broken": ProblemType(
        422, "Rules broken", "`reasons` lists the rules that it breaks now."
    ),
    "would_revert": ProblemType(
        422, "Would revert", "The contract would refuse it; nothing was sent."
    ),
    "bad_transaction": ProblemType(
        422, "Bad transaction", "The signed bytes are not the requested transaction."
    ),
    "no_such_command": ProblemType(
        404, "No such command", "None of yours has this id."
    ),
    "command_ended": ProblemType(
        409, "Command ended", "Nothing is sent for a command that has ended."
    ),
    "nonce_conflict": ProblemType(
        409, "Nonce conflict", "A transaction with another nonce may still execute."
    ),
    "cannot_close": ProblemType(
        409, "Cannot be closed", "The period is closed already, or it is not over."
    ),
    "not_cancellable": ProblemType(
        409, "Not cancellable", "Only the wallet that signed it can replace it."
    ),
    "not_retryable": ProblemType(
        409, "Not retryable", "The command has not ended without success."
    ),
    "queue_full": ProblemType(
        429, "Queue full", "Too many commands wait for a signer, wallet or account."
    ),
    "too_many_waiting": ProblemType(
        429, "Too many waiting", "Too many requests wait for commands."
    ),
    "not_configured": ProblemType(
        503, "Not configured", "A signer or an address is not configured yet."
    ),
    "node_unavailable": ProblemType(
        503, "Node unavailable", "The chain's node does not answer; nothing was stored."
    ),
    "read_only": ProblemType(503, "Read only", "This API was started without signers."),
    "internal_error": ProblemType(
        500, "Internal error", "A bug in the server; its log has the details."
    ),
    "nothing_indexed": ProblemType(
        503, "Nothing indexed yet", "The first blocks have not been written yet."
    ),
    "not_ready": ProblemType(503, "Not ready", "`causes` lists the problems."),
    "database_unavailable": ProblemType(
        503, "Database unavailable", "The database does not answer at the moment."
    ),
    "schema_changed": ProblemType(
        503, "Schema changed", "The database was built by another version."
    ),
    "too_slow": ProblemType(
        504, "Too slow", "The read took longer than is allowed; narrow it."
    ),
}


class Problem(Exception):
    """A failure with a name of `PROBLEMS`; extensions become members of the answer."""

    def __init__(self, name: str, detail: str, **extensions: Any) -> None:
        self.name = name
        self.detail = detail
        self.extensions = extensions
        super().__init__(f"{name}: {detail}")


def problem_object(
    name: str, detail: str, *, instance: str, status: int | None = None, **more: Any
) -> dict[str, Any]:
    """Return a problem as the JSON object of an answer (RFC 9457)."""
    kind = PROBLEMS[name]
    return {
        "type": f"/docs#{name}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": detail,
        "instance": instance,
        **more,
    }


def problem_response(
    name: str, detail: str, *, status: int | None = None, **extensions: Any
) -> Response:
    """Return a problem as a response (RFC 9457)."""
    content = problem_object(
        name, detail, status=status, instance=request.path, **extensions
    )
    status = content["status"]
    g.problem = name
    answer = Response(orjson.dumps(content), status, mimetype=MEDIA_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="chainfold"'
    if "retry_after" in extensions:
        answer.headers["Retry-After"] = str(extensions["retry_after"])
    elif status in (409, 429, 503):
        answer.headers["Retry-After"] = str(RETRY_SECONDS)
    return answer


def register_errors(app: Flask) -> None:
    """Answer every failure of an app with a problem."""
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(reads.ReadError, _read_error)
    for kind in Unavailable:
        app.register_error_handler(kind, _away)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _problem(problem: Problem) -> Response:
    return problem_response(problem.name, problem.detail, **problem.extensions)


def _read_error(error: reads.ReadError) -> Response:
    detail = str(error)
    if isinstance(error, reads.NotYetIndexed):
        return problem_response(
            "not_yet_indexed", detail, chain=error.chain, checkpoint=error.checkpoint
        )
    if isinstance(error, (reads.NothingIndexed, reads.PartlyIndexed)):
        return problem_response("nothing_indexed", detail, chain=error.chain)
    names: dict[type[reads.ReadError], str] = {
        reads.BadCursor: "bad_cursor",
        reads.BadQuery: "bad_query",
        reads.DatabaseAway: "database_unavailable",
        reads.SchemaChanged: "schema_changed",
        reads.TooSlow: "too_slow",
    }
    name = names[type(error)]
    if PROBLEMS[name].status >= 500:
        log.warning("read_failed path=%s problem=%s", request.path, name)
    return problem_response(name, detail)


def _away(error: Exception) -> Response:
    """Answer a write without a database: uncommitted changes are lost."""
    log.warning("write_failed path=%s cause=%s", request.path, type(error).__name__)
    return _read_error(reads.DatabaseAway())


def _http_error(error: HTTPException) -> Response:
    code = error.code or 500
    names = {
        404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "not_json",
    }  # fmt: skip
    name = names.get(code, "bad_request" if code < 500 else "internal_error")
    details = {
        "too_large": "The body is larger than it may be. Send less.",
        "not_found": "There is no such route. GET /api/v1/ lists what there is.",
        "internal_error": "Something went wrong; the log of the server says what.",
    }
    detail = details.get(name, error.description or PROBLEMS[name].meaning)
    answer = problem_response(name, detail, status=code)
    for header, value in error.get_headers():
        if header.lower() in ("allow", "retry-after"):
            answer.headers[header] = value
    return answer


def _unexpected(error: Exception) -> Response:
    log.error("request_failed path=%s", request.path, exc_info=error)
    return problem_response(
        "internal_error", "Something went wrong; the log of the server says what."
    )
