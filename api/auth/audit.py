"""Record changes of accounts: a line in the log and an entry in the journal.

No secret comes here, and no e-mail address: an account is its id, a key its prefix.
Entries are appended when the request is answered, in a transaction of their own: a
refusal is kept though what was asked for is undone.
"""

import json
import logging
import uuid
from datetime import datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request
from sqlalchemy import Engine

from api.auth.context import client_address
from api.auth.principal import Principal
from api.service import Service
from db.engine import Unavailable
from db.journal.append import Actor, append
from db.journal.audit.entries import SecurityEvent

Pairs = dict[str, Any]
AGENT_LENGTH = 200

log = logging.getLogger(__name__)


def audit(
    kind: str,
    *,
    principal: Principal | None = None,
    account: uuid.UUID | None = None,
    **details: Any,
) -> None:
    """Record an event with its author, account and address."""
    pairs: Pairs = {"kind": kind}
    if principal is not None:
        pairs["by"] = principal.name
    if account is not None:
        pairs["account"] = account
    pairs |= details
    if has_request_context():
        pairs["address"] = client_address()
        pairs["agent"] = request.headers.get("User-Agent", "")[:AGENT_LENGTH]
    line = " ".join(f"{name}={_shown(value)}" for name, value in pairs.items())
    log.info("security_event %s", line)
    if has_request_context():
        g.setdefault("audited", []).append((_actor(principal, account), pairs))


def keep_audit(app: Flask, service: Service) -> None:
    """Append the audited events of a request to the journal after its answer."""

    def keep(response: Response) -> Response:
        noted = g.pop("audited", [])
        if noted and service.writer is not None and service.auth is not None:
            try:
                _append(service, service.writer, service.auth.clock(), noted)
            except Unavailable as error:
                gist = str(error).split("\n", 1)[0]
                log.error(
                    "audit_entry_not_written entries=%d cause=%s", len(noted), gist
                )
        return response

    app.after_request(keep)


def _append(
    service: Service, writer: Engine, now: datetime, noted: list[tuple[Actor, Pairs]]
) -> None:
    # A registry of a test's own may know no audit log.
    if SecurityEvent.spec.id not in service.registry.events:
        return
    with writer.begin() as connection:
        for actor, pairs in noted:
            entry = SecurityEvent(
                kind=pairs["kind"],
                account=str(pairs.get("account", "")),
                details={
                    name: sorted(value) if isinstance(value, frozenset) else str(value)
                    for name, value in pairs.items()
                    if name not in ("kind", "account", "address", "agent")
                },
            )
            append(connection, service.registry, entry, actor=actor, now=now)


def _actor(principal: Principal | None, account: uuid.UUID | None) -> Actor:
    name = "nobody"
    if principal is not None:
        name = principal.name
    elif account is not None:
        name = f"account:{account}"
    agent = request.headers.get("User-Agent", "")[:AGENT_LENGTH]
    tenant = "" if principal is None else principal.tenant
    return Actor(name, tenant, client_address(), agent)


def _shown(value: Any) -> str:
    """A value in one word, or in quotes, so that no client can write a pair into it."""
    text = ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    plain = text.isascii() and text and all(c.isalnum() or c in ":-_.,/" for c in text)
    return text if plain else json.dumps(text)
