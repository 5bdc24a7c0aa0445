"""What happened to accounts and by whom: one line in the log for each.

No secret comes here, and no e-mail address: an account is its id, a key its prefix.
"""

import json
import logging
import uuid
from typing import Any

from flask import has_request_context, request

from api.auth.gate import client_address
from api.auth.principal import Principal

AGENT_LENGTH = 200

log = logging.getLogger(__name__)


def audit(
    kind: str,
    *,
    principal: Principal | None = None,
    account: uuid.UUID | None = None,
    **details: Any,
) -> None:
    """Note what happened, who did it, to which account, and from where."""
    pairs: dict[str, Any] = {"kind": kind}
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


def _shown(value: Any) -> str:
    """A value in one word, or in quotes, so that no client can write a pair into it."""
    text = ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    plain = text.isascii() and text and all(c.isalnum() or c in ":-_.,/" for c in text)
    return text if plain else json.dumps(text)
