"""Read entries of the journal with their author, time and content."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, select

from db.control import journal_entry
from db.journal.canonical import EntryRow
from db.journal.entries import entry_row


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """The filter of a list of entries; None: any. `before` is an entry's number."""

    kinds: Collection[str]
    actor: str | None = None
    subject: str | None = None
    before: int | None = None
    limit: int = 20


def list_entries(
    connection: Connection, wanted: EntryFilter
) -> tuple[list[tuple[EntryRow, bytes]], int | None]:
    """Entries with their hashes, the newest first, and where the next page begins."""
    query = select(journal_entry).where(journal_entry.c.kind.in_(sorted(wanted.kinds)))
    for column, value in (
        (journal_entry.c.actor, wanted.actor),
        (journal_entry.c.subject, wanted.subject),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.before is not None:
        query = query.where(journal_entry.c.seq < wanted.before)
    query = query.order_by(journal_entry.c.seq.desc()).limit(wanted.limit + 1)
    rows = [(entry_row(row), bytes(row.hash)) for row in connection.execute(query)]
    page = rows[: wanted.limit]
    return page, page[-1][0].seq if len(rows) > wanted.limit else None
