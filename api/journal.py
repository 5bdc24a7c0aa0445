"""The journal over HTTP: its entries, and proofs of inclusion.

    GET /api/v1/journal?kind=&actor=&subject=&after=&limit=
    GET /api/v1/journal/<seq>

Entries come newest first; those whose kind is not for the roles of whoever asks are
left out. One entry comes with the steps from its hash to the root of its day, which
`chainfold journal anchor` puts on the chain.
"""

from typing import Any

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.principal import Principal, current_principal, require_role
from api.auth.routes import SIGNED_IN, add_route
from api.errors import Problem
from api.json_answers import json_answer, list_answer, list_schema
from api.parameters import bad_parameter, check_names, number
from api.schemas import Schema
from api.service import PREFIX, Service
from db.declare.readers import STAFF
from db.journal.canonical import EntryRow
from db.journal.listing import EntryFilter, list_entries
from db.journal.root import Inclusion, inclusion
from db.position import MAX_HEIGHT
from db.reads import read

KNOWN = ("kind", "actor", "subject", "after", "limit")
_ENTRY: Schema = {"type": "object", "properties": {"data": {"type": "object"}}}


def journal_blueprint(service: Service) -> Blueprint:
    """`GET /journal` and `GET /journal/<seq>`."""
    blueprint = Blueprint(
        "journal", __name__, url_prefix=f"{PREFIX}/journal",
        description="What was said: the audit log.",
    )  # fmt: skip

    def list_journal() -> Response:
        """List the entries that the principal may read, newest first."""
        kinds = _kinds(service, _reader(service))
        wanted = _wanted(service, kinds)
        page, following = read(service.engine, lambda c: list_entries(c, wanted))
        data = [_shown(*each) for each in page]
        return list_answer(data, following)

    def get_journal_entry(seq: int) -> Response:
        """An entry, and the proof that it is in the root of its day."""
        kinds = _kinds(service, _reader(service))
        around = EntryFilter(kinds, before=min(seq, MAX_HEIGHT) + 1, limit=1)
        page, _ = read(service.engine, lambda c: list_entries(c, around))
        if not page or page[0][0].seq != seq:
            raise Problem("no_such_row", f"The journal has no entry {seq} for you.")
        proof = read(service.engine, lambda c: inclusion(c, seq))
        return json_answer({"data": _shown(*page[0]) | {"proof": _proof(proof)}})

    add_route(
        blueprint, "", list_journal, method="GET",
        summary="The journal", returns=list_schema({"type": "object"}),
        security=SIGNED_IN, path=[_query(name) for name in KNOWN],
    )  # fmt: skip
    add_route(
        blueprint, "/<int:seq>", get_journal_entry, method="GET",
        summary="One entry of the journal", returns=_ENTRY, security=SIGNED_IN,
        path=[{"in": "path", "name": "seq", "required": True,
               "schema": {"type": "integer", "minimum": 1}}],
    )  # fmt: skip
    return blueprint


def _reader(service: Service) -> Principal:
    principal = current_principal(service)
    require_role(principal, *STAFF)
    return principal


def _kinds(service: Service, principal: Principal) -> set[str]:
    return {
        id_
        for id_, entry in service.registry.entries.items()
        if entry.spec.readable_by is None
        or not principal.roles.isdisjoint(entry.spec.readable_by)
    }


def _wanted(service: Service, kinds: set[str]) -> EntryFilter:
    given = request.args
    check_names(KNOWN)
    kind = given.get("kind")
    if kind is not None and kind not in kinds:
        raise bad_parameter(
            "kind", f"kind: there is none such for you. Use {', '.join(sorted(kinds))}."
        )
    return EntryFilter(
        kinds if kind is None else {kind},
        actor=given.get("actor"),
        subject=given.get("subject"),
        before=number("after", MAX_HEIGHT),
        limit=number("limit", service.page_size_max) or service.page_size,
    )


def _shown(row: EntryRow, digest: bytes) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "at": row.at.isoformat(),
        "kind": row.kind,
        "actor": row.actor,
        "tenant": row.tenant,
        "address": row.address,
        "agent": row.agent,
        "body": row.body,
        "subject": row.subject,
        "previous": "0x" + row.previous.hex(),
        "hash": "0x" + digest.hex(),
    }


def _proof(found: Inclusion) -> dict[str, Any]:
    return {
        "day": found.day.day.isoformat(),
        "first": found.day.first,
        "last": found.day.last,
        "root": "0x" + found.day.root.hex(),
        "steps": [
            {"hash": "0x" + step.hash.hex(), "side": "left" if step.left else "right"}
            for step in found.steps
        ],
    }


def _query(name: str) -> Schema:
    kind = "integer" if name == "limit" else "string"
    return {"in": "query", "name": name, "schema": {"type": kind}}
