"""Reading entries back, and remaking facts from them."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, select

from db.control import journal_entry
from db.copy import copy_facts
from db.declare import Event
from db.errors import DatabaseError
from db.facts import Fact, columns_from_facts
from db.journal.canonical import EntryRow
from db.journal.head import read_head
from db.position import position
from db.records import from_row

_PAGE = 1000


class ChangedEntry(DatabaseError):
    """The stored entries do not fit the declaration."""

    def __init__(self, event: str, seq: int, cause: str) -> None:
        super().__init__(
            f"entry {seq} of the journal is a {event} of another shape ({cause}). "
            "What was said stays as it was said: undo the change of the declaration, "
            "and declare an entry of another name for what is said from now on."
        )


def read_entries(
    connection: Connection, *, first: int = 1, kind: str | None = None
) -> Iterator[tuple[EntryRow, bytes]]:
    """The entries from a number on, in order, each with the hash stored for it."""
    query = select(journal_entry).where(journal_entry.c.seq >= first)
    if kind is not None:
        query = query.where(journal_entry.c.kind == kind)
    query = query.order_by(journal_entry.c.seq)
    rows = connection.execute(query, execution_options={"yield_per": _PAGE})
    for row in rows:
        yield entry_row(row), bytes(row.hash)


def read_entry(connection: Connection, seq: int) -> tuple[EntryRow, bytes] | None:
    """The entry with a number, with the hash stored for it."""
    query = select(journal_entry).where(journal_entry.c.seq == seq)
    row = connection.execute(query).first()
    return None if row is None else (entry_row(row), bytes(row.hash))


def entry_row(row: Any) -> EntryRow:
    """A row of the table as an entry."""
    return from_row(EntryRow, row)


def fact_of(event: type[Event], row: EntryRow, digest: bytes) -> Fact:
    """The fact that an entry is; raises ChangedEntry when it is of another shape."""
    fields = event.spec.fields
    if set(row.body) != set(fields):
        names = ", ".join(sorted(set(row.body) ^ set(fields)))
        raise ChangedEntry(event.spec.id, row.seq, names)
    try:
        values = {name: field.check(row.body[name]) for name, field in fields.items()}
    except ValueError as error:
        raise ChangedEntry(event.spec.id, row.seq, str(error)) from error
    at = int(row.at.timestamp())
    return Fact(event, position(row.seq, 0), at, digest, values)


def refill_facts(connection: Connection, event: type[Event], table: Table) -> int:
    """Fill an empty table of facts from the journal; how many facts it has then."""
    head = read_head(connection)
    if head is None:
        return 0
    facts = 0
    for page in _pages(read_entries(connection, kind=event.spec.id)):
        [columns] = columns_from_facts(fact_of(event, *each) for each in page)
        copy_facts(connection, table, head.source, columns)
        facts += len(page)
    return facts


def _pages(
    entries: Iterable[tuple[EntryRow, bytes]],
) -> Iterator[list[tuple[EntryRow, bytes]]]:
    page = []
    for each in entries:
        page.append(each)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
