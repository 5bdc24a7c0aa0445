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

from db.declare import Field, FieldKind

_PREFIX = "chainfold.journal.entry.1\n"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryContent:
    """An entry without its place: all but its number, its time and the hash before."""

    kind: str
    actor: str
    tenant: str
    address: str
    agent: str
    signature: bytes | None
    body: Mapping[str, Any]
    subject: str | None
    personal: bytes | None

    def around(self) -> tuple[str, str, str, str]:
        """The canonical JSON, split where `at`, `previous` and `seq` are inserted.

        Raises ValueError for what has no canonical form.
        """
        sealed = self.personal
        personal = None if sealed is None else hashlib.sha256(sealed).hexdigest()
        by = None if self.signature is None else self.signature.hex()
        actor, address, agent, body, kind, signature, subject, tenant = map(
            _written,
            (
                self.actor, self.address, self.agent, self.body, self.kind, by,
                self.subject, self.tenant,
            ),
        )  # fmt: skip
        return (
            f'{_PREFIX}{{"actor":{actor},"address":{address},"agent":{agent},"at":',
            f',"body":{body},"kind":{kind},"personal":{_written(personal)},"previous":"',
            '","seq":',
            f',"signature":{signature},"subject":{subject},"tenant":{tenant}}}',
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow(EntryContent):
    """An entry as it is stored."""

    seq: int
    at: datetime
    previous: bytes

    def digest(self) -> bytes:
        """The hash that the entry must have; `control.append_entry` makes the same."""
        opening, middle, joint, closing = self.around()
        at, previous = microseconds(self.at), self.previous.hex()
        text = f"{opening}{at}{middle}{previous}{joint}{self.seq}{closing}"
        return hashlib.sha256(text.encode()).digest()


def canonical(value: Any) -> bytes:
    """A value as canonical JSON; raises ValueError for what has no one form."""
    return _written(value).encode()


def plain(declared: Field, value: Any) -> Any:
    """A checked value of a field as a body has it."""
    if declared.kind in (FieldKind.NUMERIC, FieldKind.BIGINT):
        return str(value)
    return declared.text(value)


def microseconds(at: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def _written(value: Any) -> str:
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


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
