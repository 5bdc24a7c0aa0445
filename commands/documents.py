"""Documents: uploaded, reviewed by somebody else, downloaded, erased with their key.

A file is kept encrypted under its owner's key, by the salted hash of its content; the
salt follows from the key too. Erasing the owner therefore makes the files unreadable
and their hashes meaningless. A file is in its storage before the journal says that it
was handed in; one that the journal never came to speak of is swept away a week later.
"""

import enum
import hashlib
import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from eth_utils.crypto import keccak
from sqlalchemy import Connection, Engine

from commands.errors import CommandError
from commands.files import Inspected
from commands.storage import Storage
from commands.submit import new_id
from db.declare import Entry
from db.documents.compliance import entries as e
from db.documents.kyc import (
    Document,
    documents_of,
    find_document,
    held_by,
    same_document,
)
from db.engine import lock_file
from db.journal.append import Actor, append
from db.journal.head import lock_head
from db.journal.keys import find_key, key_for, open_sealed, seal
from db.journal.personal import read_personal
from db.registry import Registry

ANCHOR_KIND = 102  # of anchors: a document was verified


class DocumentType(enum.StrEnum):
    """The type of a document."""

    PASSPORT = "passport"
    NATIONAL_ID = "national_id"
    DRIVING_LICENCE = "driving_licence"
    PROOF_OF_ADDRESS = "proof_of_address"
    BANK_STATEMENT = "bank_statement"
    BUSINESS_REGISTRATION = "business_registration"
    TAX_CERTIFICATE = "tax_certificate"
    ARTICLES_OF_ASSOCIATION = "articles_of_association"
    FINANCIAL_STATEMENT = "financial_statement"


class NoDocument(CommandError):
    """There is no such document, or the caller may not read it."""


class WrongStanding(CommandError):
    """The document's status does not allow the action."""


class OwnDocument(CommandError):
    """The caller handed the document in, and so may not decide about it."""


class QuotaReached(CommandError):
    """The account has reached its limit of documents or bytes."""


class FileLost(CommandError):
    """The file is lost: its owner was erased, or its content changed."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An inspected file with its owner's description."""

    account: uuid.UUID
    type: DocumentType
    content: bytes
    file: Inspected
    supersedes: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """The most documents of one account that are kept, and their bytes."""

    documents: int = 200
    total_bytes: int = 500 << 20


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of everyone, in a database and in a storage."""

    engine: Engine
    registry: Registry
    storage: Storage
    clock: Callable[[], datetime]
    max_bytes: int
    quota: Quota = Quota()

    def upload(self, given: Upload, actor: Actor) -> tuple[Document, bool]:
        """Keep a document, or find the one that is the same; whether it is new.

        Raises Erased, StorageAway, QuotaReached, and NoDocument or WrongStanding for
        what it cannot supersede. Nothing is stored of what is refused, but where two
        requests of an account meet.
        """
        now = self.clock()
        with self.engine.begin() as connection:
            key = key_for(connection, str(given.account), now)
            digest = salted_hash(key, given.content)
            known, _ = self._look(connection, given, digest)
            if known is not None:
                return known, False
        sealed = seal(key, given.content, _bound(digest))
        self.storage.put(digest.hex(), sealed)
        with self.engine.begin() as connection:
            lock_file(connection, digest.hex())
            if not self.storage.has(digest.hex()):  # it was old, and swept just now
                self.storage.put(digest.hex(), sealed)
            lock_head(connection)
            known, former = self._look(connection, given, digest)
            if known is not None:
                return known, False
            entry = self._uploaded(given, digest)
            if former is not None:
                event = e.DocumentSuperseded(
                    document=former.id, account=given.account,
                    by=entry.values["document"],
                )  # fmt: skip
                self._append(connection, event, actor, now)
            self._append(connection, entry, actor, now)
            document = uuid.UUID(entry.values["document"])
            return self._need(connection, document), True

    def verify(
        self, document: uuid.UUID, reviewer: uuid.UUID, actor: Actor
    ) -> Document:
        """Find a document good; raises NoDocument, OwnDocument, WrongStanding."""
        return self._decide(document, reviewer, actor, None)

    def reject(
        self, document: uuid.UUID, reviewer: uuid.UUID, actor: Actor, reason: str
    ) -> Document:
        """Turn a document down; raises NoDocument, OwnDocument, WrongStanding."""
        return self._decide(document, reviewer, actor, reason)

    def content(self, document: uuid.UUID, actor: Actor) -> tuple[Document, bytes]:
        """A document's file; that it was given, and to whom, is in the journal.

        Raises NoDocument, FileLost, NoFile, StorageAway.
        """
        with self.engine.begin() as connection:
            # The head is not held while the file is read: others would wait for it.
            found = self._need(connection, document)
            key = find_key(connection, str(found.account))
            if key is None:
                raise FileLost("the owner was erased, and the file with them")
            sealed = self.storage.get(found.content_hash.hex())
            try:
                content = open_sealed(key, sealed, _bound(found.content_hash))
            except InvalidTag as error:
                raise FileLost(
                    "the file is not the one that was kept: restore it from a backup"
                ) from error
            entry = e.DocumentRead(
                document=document, account=found.account, reader=actor.tenant
            )
            self._append(connection, entry, actor, self.clock())
        return found, content

    def find(self, document: uuid.UUID) -> tuple[Document, dict[str, Any]]:
        """Return a document with its personal values; raises NoDocument."""
        with self.engine.connect() as connection:
            found = self._need(connection, document)
            return found, _personal(connection, found)

    def of(self, account: uuid.UUID) -> list[tuple[Document, dict[str, Any]]]:
        """An account's documents, the newest first."""
        with self.engine.connect() as connection:
            found = documents_of(connection, account)
            return [(each, _personal(connection, each)) for each in found]

    def anchor_of(self, document: uuid.UUID) -> dict[str, Any]:
        """Return the hash to anchor for a verified document; raises WrongStanding."""
        found, _ = self.find(document)
        if found.status != "verified" or found.decided_at is None:
            raise WrongStanding(
                f"it is {found.status}: only verified ones are anchored"
            )
        return {
            "subject": keccak(b"chainfold/document/" + found.id.bytes),
            "kind": ANCHOR_KIND,
            "content_hash": found.content_hash,
            "occurred_at": found.decided_at,
            "reference": bytes(32),
        }

    def _uploaded(self, given: Upload, digest: bytes) -> Entry:
        return e.DocumentUploaded(
            document=new_id(),
            account=given.account,
            type=given.type,
            media_type=given.file.media_type,
            size=len(given.content),
            content_hash=digest,
            file_name=given.file.name,
            sha256=hashlib.sha256(given.content).digest(),
        )

    def _look(
        self, connection: Connection, given: Upload, digest: bytes
    ) -> tuple[Document | None, Document | None]:
        """The document that is the same, or else the one that is to be superseded.

        Raises QuotaReached, NoDocument, WrongStanding.
        """
        known = same_document(connection, given.account, given.type, digest)
        if known is not None:
            return known, None
        count, size = held_by(connection, given.account)
        if count >= self.quota.documents:
            raise QuotaReached(
                f"{count} documents of yours are kept, and no more may be: ask an "
                "operator for a larger quota"
            )
        if size + len(given.content) > self.quota.total_bytes:
            raise QuotaReached(
                f"your documents have {size} bytes, and {self.quota.total_bytes} are "
                "kept at most: ask an operator for a larger quota"
            )
        return None, self._superseded(connection, given)

    def _superseded(self, connection: Connection, given: Upload) -> Document | None:
        if given.supersedes is None:
            return None
        former = self._need(connection, given.supersedes)
        if former.account != given.account:
            raise NoDocument("there is no such document to supersede")
        if former.status == "superseded":
            raise WrongStanding(f"it is superseded already, by {former.superseded_by}")
        return former

    def _decide(
        self,
        document: uuid.UUID,
        reviewer: uuid.UUID,
        actor: Actor,
        reason: str | None,
    ) -> Document:
        with self.engine.begin() as connection:
            lock_head(connection)
            found = self._need(connection, document)
            if found.account == reviewer:
                raise OwnDocument("it is your own document: somebody else must decide")
            if found.status != "pending":
                raise WrongStanding(
                    f"it is {found.status}: only pending ones are decided"
                )
            values: dict[str, Any] = {
                "document": document, "account": found.account,
                "reviewer": actor.tenant,
            }  # fmt: skip
            entry: Entry = (
                e.DocumentVerified(**values)
                if reason is None
                else e.DocumentRejected(**values, reason=reason)
            )
            self._append(connection, entry, actor, self.clock())
            return self._need(connection, document)

    def _append(
        self, connection: Connection, entry: Entry, actor: Actor, now: datetime
    ) -> None:
        append(connection, self.registry, entry, actor=actor, now=now)

    def _need(self, connection: Connection, document: uuid.UUID) -> Document:
        found = find_document(connection, document)
        if found is None:
            raise NoDocument(f"there is no document {document}")
        return found


def salted_hash(key: bytes, content: bytes) -> bytes:
    """Return a keyed hash: without the owner's key it reveals nothing."""
    salt = hmac.digest(key, b"chainfold.document.salt.1", "sha256")
    return hashlib.sha256(salt + content).digest()


def _personal(connection: Connection, document: Document) -> dict[str, Any]:
    """Name and hashes of a file and the reason of a refusal; empty after an erasure."""
    found = read_personal(connection, document.uploaded_in).values
    if found is None:
        return {}
    if document.decided_in is not None:
        found |= read_personal(connection, document.decided_in).values or {}
    return found


def _bound(digest: bytes) -> bytes:
    return b"chainfold.document.1\n" + digest
