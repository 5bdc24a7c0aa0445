"""Documents over HTTP: upload, review, download, and anchoring of verified ones.

    POST <path>/upload        multipart/form-data: type, file, supersedes
    GET  <path>               one's own
    GET  <path>/<id>          the owner, compliance, auditors
    GET  <path>/<id>/file     the same; every reading is in the journal
    POST <path>/<id>/verify   compliance, and never the owner
    POST <path>/<id>/reject   {"reason": "…"}
    POST <path>/<id>/anchor   puts the salted hash on the chain

The domain that wants them adds the routes (`routes.py`), under its path and for its
roles. A file is answered as an attachment that no browser opens by itself or runs.
"""

import io
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from werkzeug.formparser import FormDataParser

from api.auth.middleware import accepts
from api.auth.principal import Principal, current_principal, require_role
from api.auth.routes import SIGNED_IN, Body, add_route, read_body
from api.command_answers import command_answer
from api.command_problems import as_problems
from api.errors import Problem
from api.json_answers import json_answer
from api.schemas import Schema
from api.service import PREFIX, Service
from api.writes import actor_of, require_command_service
from commands.documents import (
    Documents,
    DocumentType,
    FileLost,
    NoDocument,
    OwnDocument,
    QuotaReached,
    Upload,
    WrongStanding,
)
from commands.files import BadFile, inspect
from commands.storage import NoFile, StorageAway
from commands.submit import Submission
from db.declare.roles import Role
from db.documents.kyc import Document
from db.journal.anchoring.commands import AnchorHash
from db.journal.append import Actor
from db.journal.keys import Erased

log = logging.getLogger(__name__)

FORM = "multipart/form-data"
PARTS_BYTES = 1 << 16  # what surrounds the file in a form
READERS = (Role.COMPLIANCE, Role.AUDITOR)
REASON_LENGTH = 2000
SANDBOX = "sandbox; default-src 'none'"
_PATH: list[Schema] = [
    {"in": "path", "name": "document", "required": True,
     "schema": {"type": "string", "format": "uuid"}},
]  # fmt: skip
_ONE: Schema = {"type": "object", "properties": {"data": {"type": "object"}}}
_MANY: Schema = {"type": "object", "properties": {"data": {"type": "array"}}}
_PROBLEMS: dict[type[Exception], str] = {
    BadFile: "bad_file", NoDocument: "no_such_document", OwnDocument: "not_allowed",
    WrongStanding: "wrong_document_status", QuotaReached: "quota_reached",
    FileLost: "document_lost",
    NoFile: "document_lost", Erased: "document_lost",
}  # fmt: skip


class Rejection(Body, frozen=True):
    """The reason for which a document was turned down, for its owner."""

    reason: str


def documents_blueprint(
    service: Service, documents: Documents, *, path: str, owners: tuple[Role, ...]
) -> Blueprint:
    """The routes under a path, for accounts that have one of the owners' roles."""
    blueprint = Blueprint(
        "documents", __name__, url_prefix=f"{PREFIX}{path}",
        description="Documents by which people and companies show who they are.",
    )  # fmt: skip
    _add_own(blueprint, service, documents, owners)
    _add_file(blueprint, service, documents)
    _add_decisions(blueprint, service, documents)
    _add_anchor(blueprint, service, documents)
    return blueprint


def _add_own(
    blueprint: Blueprint, service: Service, documents: Documents,
    owners: tuple[Role, ...],
) -> None:  # fmt: skip
    @accepts(FORM, max_bytes=documents.max_bytes + PARTS_BYTES)
    def upload_document() -> Response:
        """Hand in a PDF, PNG, JPEG or WebP; the same file is kept once."""
        principal = current_principal(service)
        require_role(principal, *owners)
        with _told():
            given = _upload(documents, _account(principal))
            document, fresh = documents.upload(given, actor_of(principal))
            answer = _answer(*documents.find(document.id), status=201 if fresh else 200)
        answer.headers["Location"] = f"{blueprint.url_prefix}/{document.id}"
        return answer

    def list_documents() -> Response:
        """One's own documents, the newest first."""
        account = _account(current_principal(service))
        return json_answer({"data": [_shown(*each) for each in documents.of(account)]})

    def get_document(document: uuid.UUID) -> Response:
        """A document, for its owner and for those who look after documents."""
        return _answer(*_readable(documents, current_principal(service), document))

    add_route(
        blueprint, "/upload", upload_document,
        summary="Hand in a document", status=201, returns=_ONE, security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "", list_documents, method="GET",
        summary="One's own documents", returns=_MANY, security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "/<uuid:document>", get_document, method="GET", path=_PATH,
        summary="One document", returns=_ONE, security=SIGNED_IN,
    )  # fmt: skip


def _add_file(blueprint: Blueprint, service: Service, documents: Documents) -> None:
    def get_document_file(document: uuid.UUID) -> Response:
        """A document's content; that it was read is in the journal."""
        principal = current_principal(service)
        _readable(documents, principal, document)
        with _told():
            found, content = documents.content(document, actor_of(principal))
        answer = Response(content, mimetype=found.media_type)
        ending = found.media_type.rpartition("/")[2]
        # Not the owner's name for it: nothing that a client wrote comes into a header.
        answer.headers["Content-Disposition"] = (
            f'attachment; filename="{found.type}-{found.id}.{ending}"'
        )
        answer.headers["Content-Security-Policy"] = SANDBOX
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    add_route(
        blueprint, "/<uuid:document>/file", get_document_file, method="GET", path=_PATH,
        summary="A document's content", security=SIGNED_IN,
    )  # fmt: skip


def _add_decisions(
    blueprint: Blueprint, service: Service, documents: Documents
) -> None:
    def verify_document(document: uuid.UUID) -> Response:
        """Find a document good; the owner may not."""
        who = _reviewer(service)
        with _told():
            documents.verify(document, _account(who), actor_of(who))
            return _answer(*documents.find(document))

    def reject_document(document: uuid.UUID) -> Response:
        """Turn a document down, with a reason for its owner."""
        who = _reviewer(service)
        reason = read_body(Rejection).reason.strip()
        if not 0 < len(reason) <= REASON_LENGTH or "\x00" in reason:
            raise Problem("bad_body", f"reason: give 1 to {REASON_LENGTH} characters.")
        with _told():
            documents.reject(document, _account(who), actor_of(who), reason)
            return _answer(*documents.find(document))

    add_route(
        blueprint, "/<uuid:document>/verify", verify_document, path=_PATH,
        summary="Find a document good", returns=_ONE, security=SIGNED_IN,
    )  # fmt: skip
    add_route(
        blueprint, "/<uuid:document>/reject", reject_document, path=_PATH,
        summary="Turn a document down", body=Rejection, returns=_ONE,
        security=SIGNED_IN,
    )  # fmt: skip


def _add_anchor(blueprint: Blueprint, service: Service, documents: Documents) -> None:
    def anchor_document(document: uuid.UUID) -> Response:
        """Ask for a verified document's salted hash to be put on the chain."""
        who = _reviewer(service)
        command_service = require_command_service(service)
        with _told(), as_problems():
            arguments = documents.anchor_of(document)
            # One name space for all officers: a document is anchored once.
            asker = actor_of(who)
            actor = Actor(asker.name, "documents", asker.address, asker.agent)
            asked = Submission(actor, f"document {document}", arguments)
            row, fresh = command_service.submit(AnchorHash, asked)
        return command_answer(service, row, fresh=fresh)

    add_route(
        blueprint, "/<uuid:document>/anchor", anchor_document, path=_PATH,
        summary="Anchor a verified document", status=202, returns=_ONE,
        security=SIGNED_IN,
    )  # fmt: skip


def document_components() -> dict[str, Schema]:
    """The schemas that the routes refer to."""
    reason = {"type": "string", "minLength": 1, "maxLength": REASON_LENGTH}
    rejection = {
        "type": "object", "required": ["reason"], "properties": {"reason": reason},
        "additionalProperties": False, "description": Rejection.__doc__,
    }  # fmt: skip
    return {"Rejection": rejection}


def _upload(documents: Documents, account: uuid.UUID) -> Upload:
    """The form of the request; raises the Problem `bad_body`, `too_large`, BadFile."""
    # In memory: what is personal is not put into a temporary file as it came.
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(),
        max_content_length=documents.max_bytes + PARTS_BYTES,
        # Of all that is in the parser's memory, the file's own parts among it.
        max_form_memory_size=documents.max_bytes + PARTS_BYTES,
        max_form_parts=4,
    )
    _, fields, files = parser.parse_from_environ(request.environ)
    unknown = sorted({*fields} - {"type", "supersedes"} | {*files} - {"file"})
    if unknown or len(files.getlist("file")) != 1:
        raise Problem(
            "bad_body",
            "Send a form with type, one file, and supersedes if it replaces another.",
        )
    file = files["file"]
    content = file.stream.read()
    if len(content) > documents.max_bytes:
        raise Problem("too_large", f"A file may have {documents.max_bytes} bytes.")
    try:
        type_ = DocumentType(fields.get("type", ""))
        former = uuid.UUID(fields["supersedes"]) if fields.get("supersedes") else None
    except ValueError as error:
        raise Problem(
            "bad_body",
            f"type is one of {', '.join(DocumentType)}; supersedes is a document's id.",
        ) from error
    seen = inspect(content, name=file.filename or "", media_type=file.mimetype or "")
    return Upload(account, type_, content, seen, former)


def _readable(
    documents: Documents, principal: Principal, document: uuid.UUID
) -> tuple[Document, dict[str, Any]]:
    """Return a document if the principal may read it, else raise `no_such_document`."""
    with _told():
        found, personal = documents.find(document)
        mine = found.account == principal.account
        if not mine and principal.roles.isdisjoint(READERS):
            raise NoDocument(f"there is no document {document}")
    return found, personal


def _reviewer(service: Service) -> Principal:
    principal = current_principal(service)
    require_role(principal, Role.COMPLIANCE)
    return principal


def _account(principal: Principal) -> uuid.UUID:
    if principal.account is None:
        raise Problem("not_allowed", "Only an account has documents. Sign in with one.")
    return principal.account


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StorageAway as error:
        log.error(
            "storage_unavailable cause=%s", error
        )  # where it is, is for operators
        raise Problem(
            "storage_unavailable",
            "The storage of files does not do its part. Try again soon.",
        ) from error
    except tuple(_PROBLEMS) as error:
        text = str(error)
        name = next(n for kind, n in _PROBLEMS.items() if isinstance(error, kind))
        raise Problem(name, text[:1].upper() + text[1:] + ".") from error


def _answer(
    document: Document, personal: dict[str, Any], status: int = 200
) -> Response:
    return json_answer({"data": _shown(document, personal)}, status)


def _shown(document: Document, personal: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(document.id),
        "account": str(document.account),
        "type": document.type,
        "media_type": document.media_type,
        "size": document.size,
        "status": document.status,
        "content_hash": "0x" + document.content_hash.hex(),
        "uploaded_at": _time(document.uploaded_at),
        "decided_at": _time(document.decided_at),
        "reviewer": document.reviewer,
        "superseded_by": document.superseded_by,
        "reads": document.reads,
        "file_name": personal.get("file_name"),
        "sha256": personal.get("sha256"),
        "reason": personal.get("reason"),
    }


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
