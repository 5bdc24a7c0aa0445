"""Walking the chain of hashes, and comparing facts and blocks with the entries.

What cannot be seen from inside is an end that was cut off together with everything
that tells of it: the roots anchored on a chain show that.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cryptography.exceptions import InvalidTag
from sqlalchemy import Connection, Engine, and_, func, select, text

from db.control import block, journal_entry, subject_key
from db.control import source as source_table
from db.declare import Event
from db.journal.canonical import EntryRow
from db.journal.entries import ChangedEntry, entry_row, fact_of
from db.journal.head import SOURCE, read_head
from db.journal.keys import decrypt
from db.position import MAX_ORDINAL, position
from db.registry import Registry
from db.schema import unchanged
from db.sql.columns import fact_table

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of an entry, or of what is kept of the journal beside it."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry, its fact and its block."""

    row: EntryRow
    hash: bytes
    block: tuple[bytes, bytes, int] | None
    key: bytes | None


def faults(engine: Engine, registry: Registry) -> Iterator[Fault]:
    """Everything that is wrong with the journal, in order, in one snapshot."""
    with unchanged(engine, registry) as connection:
        head = read_head(connection)
        if head is None:
            return
        query = select(source_table).where(source_table.c.id == SOURCE)
        books = connection.execute(query).one()
        previous, seq, at = bytes(books.genesis), 0, head.at
        for page in _pages(connection):
            facts = _facts(connection, registry, page)
            for found in page:
                if found.row.seq != seq + 1:
                    yield Fault(seq + 1, "is missing")
                yield from _entry_faults(found, previous)
                yield from _fact_faults(found, registry, facts)
                previous, seq, at = found.hash, found.row.seq, found.row.at
        if (head.seq, head.hash) != (seq, previous) or (seq and head.at != at):
            yield Fault(head.seq, f"is not the last entry, as the head says: {seq} is")
        if (books.head, books.final) != (seq, seq):
            yield Fault(seq, "is not the head that control.source has")
        yield from _orphans(connection, registry, seq)


def _entry_faults(found: _Found, previous: bytes) -> Iterator[Fault]:
    row = found.row
    if row.previous != previous:
        yield Fault(row.seq, "does not follow the entry before it")
    if not _has_hash(row, found.hash):
        yield Fault(row.seq, "was changed: its hash is another")
    if found.block != (found.hash, row.previous, int(row.at.timestamp())):
        yield Fault(row.seq, "is not the block that control.block has")
    if row.personal is not None and found.key is not None:
        try:
            decrypt(found.key, row.personal, kind=row.kind, seq=row.seq)
        except (InvalidTag, ValueError):
            yield Fault(row.seq, "has personal values that its key does not open")


def _has_hash(row: EntryRow, expected: bytes) -> bool:
    try:
        return row.digest() == expected
    except ValueError:  # it holds what no entry of ours can hold
        return False


def _fact_faults(
    found: _Found,
    registry: Registry,
    facts: Mapping[tuple[str, int], Mapping[str, Any]],
) -> Iterator[Fault]:
    row = found.row
    event = registry.entries.get(row.kind)
    if event is None:  # said by a version that declared it
        return
    try:
        fact = fact_of(event, row, found.hash)
    except ChangedEntry as error:
        yield Fault(row.seq, str(error))
        return
    expected = {
        **fact.values,
        "block_time": fact.block_time,
        "transaction": fact.transaction,
    }
    stored = facts.get((row.kind, fact.position))
    if stored is None or _text(stored) != _text(expected):
        what = "has no fact" if stored is None else "has another fact"
        yield Fault(row.seq, f"{what} in {event.spec.table}")


def _orphans(connection: Connection, registry: Registry, last: int) -> Iterator[Fault]:
    """Find facts, blocks or coverage without a matching journal entry."""
    for event in registry.entries.values():
        table = fact_table(event)
        behind = and_(
            journal_entry.c.seq == table.c.position.op(">>")(32),
            journal_entry.c.kind == event.spec.id,
        )
        query = (
            select(table.c.position)
            .outerjoin(journal_entry, behind)
            .where(
                journal_entry.c.seq.is_(None)
                | (table.c.source != SOURCE)
                | (table.c.position.op("&")(MAX_ORDINAL) != 0)
            )
            .order_by(table.c.position)
        )
        for found in connection.execute(query).scalars():
            yield Fault(
                found >> 32, f"is a fact of {event.spec.table} without an entry"
            )
    query = select(func.max(block.c.height)).where(block.c.source == SOURCE)
    if connection.execute(query).scalar() != last:
        yield Fault(last, "is not the last block that control.block has")
    blocks = connection.execute(
        text("SELECT blocks::text FROM control.coverage WHERE source = :source"),
        {"source": SOURCE},
    ).scalars()
    if list(blocks) != [f"{{[0,{last + 1})}}"]:
        yield Fault(last, "is not where control.coverage ends")


def _pages(connection: Connection) -> Iterator[list[_Found]]:
    e = journal_entry
    same = and_(block.c.source == SOURCE, block.c.height == e.c.seq)
    query = (
        select(
            e, block.c.hash.label("b_hash"), block.c.parent_hash.label("b_parent"),
            block.c.time.label("b_time"), subject_key.c.key.label("s_key"),
        )
        .outerjoin(block, same)
        .outerjoin(subject_key, subject_key.c.subject == e.c.subject)
        .order_by(e.c.seq)
    )  # fmt: skip
    rows = connection.execute(query, execution_options={"yield_per": _PAGE})
    for page in rows.partitions(_PAGE):
        yield [_found(row) for row in page]


def _found(row: Any) -> _Found:
    known = None
    if row.b_hash is not None:
        known = bytes(row.b_hash), bytes(row.b_parent), row.b_time
    key = None if row.s_key is None else bytes(row.s_key)
    return _Found(entry_row(row), bytes(row.hash), known, key)


def _facts(
    connection: Connection, registry: Registry, page: Sequence[_Found]
) -> dict[tuple[str, int], dict[str, Any]]:
    """The facts stored between the first and the last entry, by kind and position."""
    first, last = page[0].row.seq, page[-1].row.seq
    between = position(first, 0), position(last, MAX_ORDINAL)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for kind in sorted({each.row.kind for each in page}):
        event: type[Event] | None = registry.entries.get(kind)
        if event is None:
            continue
        table = fact_table(event)
        query = select(table).where(
            table.c.source == SOURCE, table.c.position.between(*between)
        )
        for row in connection.execute(query).mappings():
            values = {name: _plain(value) for name, value in row.items()}
            del values["source"]
            found[kind, values.pop("position")] = values
    return found


def _text(values: Mapping[str, Any]) -> str:
    """Values in a form in which true is not 1, as it is in Python."""
    return json.dumps(values, sort_keys=True, default=bytes.hex)


def _plain(value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    return int(value) if isinstance(value, Decimal) else value
