"""The keys of persons, and what is encrypted under them.

A person's values are AES-256-GCM under a random key of their own: nonce (12 bytes),
then ciphertext and tag, bound to the kind and the number of the entry. To erase the
person is to delete the key.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from db.control import subject_key
from db.errors import DatabaseError
from db.journal.canonical import canonical

_NONCE = 12


class Erased(DatabaseError):
    """The person was erased: nothing about them may be kept again under that name."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject} was erased. Use another identifier for them.")


def encrypt(
    connection: Connection,
    subject: str,
    values: Mapping[str, Any],
    *,
    kind: str,
    seq: int,
    now: datetime,
) -> bytes:
    """Values about a person as ciphertext, with a key made at first; raises Erased."""
    key = key_for(connection, subject, now)
    return seal(key, canonical(values), _bound(kind, seq))


def decrypt(key: bytes, personal: bytes, *, kind: str, seq: int) -> dict[str, Any]:
    """The values in a ciphertext; raises InvalidTag when it is not of this entry."""
    values: dict[str, Any] = json.loads(open_sealed(key, personal, _bound(kind, seq)))
    return values


def seal(key: bytes, content: bytes, bound: bytes) -> bytes:
    """Encrypt content with a key, bound to its position in the journal."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, content, bound)


def open_sealed(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Decrypt a value; raises InvalidTag when the key or the place is another."""
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)


def key_for(connection: Connection, subject: str, now: datetime) -> bytes:
    """A person's key, made at first, held so that it is not erased before commit."""
    connection.execute(
        insert(subject_key)
        .values(subject=subject, key=AESGCM.generate_key(256), made_at=now)
        .on_conflict_do_nothing()
    )
    query = select(subject_key.c.key).where(subject_key.c.subject == subject)
    key = connection.execute(query.with_for_update(read=True)).scalar_one()
    if key is None:
        raise Erased(subject)
    return bytes(key)


def find_key(connection: Connection, subject: str) -> bytes | None:
    """A person's key, None when there is none or they were erased."""
    query = select(subject_key.c.key).where(subject_key.c.subject == subject)
    key = connection.execute(query).scalar()
    return None if key is None else bytes(key)


def is_erased(connection: Connection, subject: str) -> bool:
    """Whether a person was erased."""
    query = select(subject_key.c.erased_at).where(subject_key.c.subject == subject)
    return connection.execute(query).scalar() is not None


def delete_key(connection: Connection, subject: str, now: datetime) -> None:
    """Delete a person's key for ever, or see that none is ever made."""
    statement = insert(subject_key).values(
        subject=subject, key=None, made_at=now, erased_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["subject"],
            set_={"key": None, "erased_at": now},
            where=subject_key.c.erased_at.is_(None),
        )
    )


def _bound(kind: str, seq: int) -> bytes:
    return f"chainfold.journal.personal.1\n{kind}\n{seq}".encode()
