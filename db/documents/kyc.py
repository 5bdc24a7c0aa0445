"""Read rows of documents inside the caller's transaction."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from db.documents.compliance.projections import KycDocument
from db.records import from_row
from db.sql.columns import state_table

CURRENT = ("pending", "verified")


@dataclass(frozen=True, slots=True)
class Document:
    """A document's row; times are seconds since 1970."""

    id: uuid.UUID
    account: uuid.UUID
    type: str
    media_type: str
    size: int
    content_hash: bytes
    status: str
    uploaded_at: int
    uploaded_in: int
    reviewer: str | None
    decided_at: int | None
    decided_in: int | None
    superseded_by: str | None
    reads: int


def find_document(connection: Connection, document: uuid.UUID) -> Document | None:
    """The document with an id."""
    found = _select(connection, _table().c.document == str(document))
    return found[0] if found else None


def documents_of(connection: Connection, account: uuid.UUID) -> list[Document]:
    """An account's documents, the newest first."""
    return _select(connection, _table().c.account == str(account))


def same_document(
    connection: Connection, account: uuid.UUID, type_: str, content_hash: bytes
) -> Document | None:
    """The document of this type and content that the account has handed in already."""
    table = _table()
    found = _select(
        connection,
        table.c.account == str(account),
        table.c.content_hash == content_hash,
        table.c.type == type_,
        table.c.status.in_(CURRENT),
    )
    return found[0] if found else None


def held_by(connection: Connection, account: uuid.UUID) -> tuple[int, int]:
    """Return the number of an account's kept documents, and their bytes.

    Those that were rejected or superseded count: their files are kept.
    """
    table = _table()
    query = select(func.count(), func.coalesce(func.sum(table.c.size), 0)).where(
        table.c.account == str(account)
    )
    count, size = connection.execute(query).one()
    return int(count), int(size)


def is_kept(connection: Connection, content_hash: bytes) -> bool:
    """Whether any document, of whatever state, has this content."""
    table = _table()
    query = select(table.c.document).where(table.c.content_hash == content_hash)
    return connection.execute(query.limit(1)).first() is not None


def _select(connection: Connection, *where: ColumnElement[bool]) -> list[Document]:
    query = select(_table()).where(*where).order_by(_table().c.uploaded_in.desc())
    return [_document(row) for row in connection.execute(query)]


def _table() -> Any:
    return state_table(KycDocument.spec)


def _document(row: Any) -> Document:
    document, account = uuid.UUID(row.document), uuid.UUID(row.account)
    return from_row(Document, row, id=document, account=account)
