"""The one way to write an entry as bytes, and its hash.

An entry's hash is SHA-256 over `chainfold.journal.entry.1`, a line feed, and this
object as canonical JSON (UTF-8, members sorted by code point, no spaces, nothing
escaped that need not be, no fractions):

    {"actor", "address", "agent", "at", "body", "kind", "personal", "previous", "seq",
     "signature", "subject", "tenant"}

`at` is in microseconds since 1970; `previous` is the hash of the entry before and
`personal` the SHA-256 of the ciphertext, both as hex, so that the hash can be checked
when the key is gone. `body` has integers as decimal strings and bytes as `0x…`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from db.declare import Field, Kind

_PREFIX = b"chainfold.journal.entry.1\n"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry as it is stored."""

    seq: int
    at: datetime
    kind: str
    actor: str
    tenant: str
    address: str
    agent: str
    signature: bytes | None
    body: Mapping[str, Any]
    subject: str | None
    personal: bytes | None
    previous: bytes

    def digest(self) -> bytes:
        """The hash that the entry must have."""
        personal = self.personal
        content = {
            "seq": self.seq,
            "at": microseconds(self.at),
            "kind": self.kind,
            "actor": self.actor,
            "tenant": self.tenant,
            "address": self.address,
            "agent": self.agent,
            "signature": None if self.signature is None else self.signature.hex(),
            "body": self.body,
            "subject": self.subject,
            "personal": None
            if personal is None
            else hashlib.sha256(personal).hexdigest(),
            "previous": self.previous.hex(),
        }
        return hashlib.sha256(_PREFIX + canonical(content)).digest()


def canonical(value: Any) -> bytes:
    """A value as canonical JSON; raises ValueError for what has no one form."""
    _check(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def plain(declared: Field, value: Any) -> Any:
    """A checked value of a field as a body has it."""
    if declared.kind is Kind.BYTES:
        return "0x" + value.hex()
    if declared.kind in (Kind.NUMERIC, Kind.BIGINT):
        return str(value)
    return value


def microseconds(at: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def _check(value: Any) -> None:
    """Refuse what Postgres or another reader would give back in another form."""
    if isinstance(value, float):
        raise ValueError(f"{value!r}: write fractions as text, they have many forms")
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("the character NUL cannot be stored: leave it out")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{key!r}: names of members are text")
            _check(key)
            _check(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item)
    elif value is not None and not isinstance(value, (str, int, bool)):
        raise ValueError(f"{type(value).__name__} has no form in JSON")
