"""The end of the journal: one row that every append locks until it commits.

The journal is a source like a chain is one. Its blocks are its entries: the height is
the entry's number, the hash its hash. Block 0 is before the first entry and has random
bytes for a hash, so that no two journals share an entry; its time is 1970.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, text, update

from db import blocks, coverage
from db.blocks import Header
from db.control import journal_head
from db.control import source as source_table
from db.coverage import Stream
from db.errors import DatabaseError
from db.journal.canonical import EPOCH
from db.position import BlockRange
from db.reads.freshness import BLOCKS

NAME = "journal"
CHAIN_ID = "journal:main"
SOURCE = 0  # chains are numbered from 1
# Every kind of entry is read as far as the journal itself: one stream says it for all.
STREAM = Stream(BLOCKS, "", 0)


class NoJournal(DatabaseError):
    """The name of the journal is taken, or the database was not migrated."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of the journal; seq 0 is before the first.

    `declared` names the declarations that the tables were built from.
    """

    source: int
    seq: int
    hash: bytes
    at: datetime
    declared: str


_BEGIN = """
    INSERT INTO control.source
        (id, name, chain_id, ordinals, genesis, head, head_time, final, state)
    OVERRIDING SYSTEM VALUE
    VALUES (:source, :name, :chain_id, 'rank', :genesis, 0, 0, 0, 'following')
    ON CONFLICT DO NOTHING
"""
_LOCK = "SELECT source, seq, hash, at, declared FROM control.journal_head FOR UPDATE"


def lock_head(connection: Connection) -> Head:
    """The head, held until commit; the journal is begun if it is not."""
    row = connection.exec_driver_sql(_LOCK).first()
    if row is None:
        begin_journal(connection)
        row = connection.exec_driver_sql(_LOCK).one()
    return _head(row)


def read_head(connection: Connection) -> Head | None:
    """The head as it is, None before the journal was begun."""
    row = connection.execute(select(journal_head)).first()
    return None if row is None else _head(row)


def begin_journal(connection: Connection) -> None:
    """Make the journal, empty, unless it is there."""
    genesis = secrets.token_bytes(32)
    made = connection.execute(text(_BEGIN), {"name": NAME, "chain_id": CHAIN_ID,
        "source": SOURCE, "genesis": genesis}).rowcount  # fmt: skip
    if not made:
        _check_name(connection)
        return
    blocks.remember(connection, SOURCE, [Header(0, genesis, bytes(32), 0)])
    coverage.record(connection, SOURCE, [STREAM], BlockRange(0, 0))
    row = {"source": SOURCE, "seq": 0, "hash": genesis, "at": EPOCH}
    connection.execute(insert(journal_head).values(row))


def declare_journal(connection: Connection, declared: str) -> None:
    """Record which declarations of entries the tables are built from, holding the head.

    What appends with others looks closer, or fails.
    """
    connection.execute(update(journal_head).values(declared=declared))


def _check_name(connection: Connection) -> None:
    """Another transaction began the journal, or a chain has its name."""
    query = select(source_table.c.chain_id).where(source_table.c.name == NAME)
    if connection.execute(query).scalar() != CHAIN_ID:
        raise NoJournal(
            f"a chain is called {NAME!r}, which is the journal's name. Give the chain "
            "another name in the settings and in control.source."
        )


def _head(row: Sequence[Any]) -> Head:
    source, seq, hash_, at, declared = row
    return Head(source, seq, bytes(hash_), at, declared)
