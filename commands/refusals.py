"""The journal's entry of a command that was refused."""

import hashlib
from collections.abc import Mapping
from typing import Any

from db.journal.audit.entries import CommandRefused

VALUE_KEPT = 200  # characters; of longer ones the digest is kept
REASON_KEPT = 1000


def refusal_entry(
    kind: str, reason: str, arguments: Mapping[str, Any]
) -> CommandRefused:
    """Return the journal entry of a refusal; long values are kept as digests.

    Entries are kept for ever, and a refused request costs its sender nothing: so none
    may be larger than some lines.
    """
    if len(reason) > REASON_KEPT:
        reason = f"{reason[:REASON_KEPT]}… (SHA-256 of all of it: {_digest(reason)})"
    kept = {name: _kept(value) for name, value in arguments.items()}
    return CommandRefused(kind=kind, reason=reason, arguments=kept)


def _kept(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= VALUE_KEPT:
        return value
    return {"sha256": _digest(value), "characters": len(value)}


def _digest(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()
