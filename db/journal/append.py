"""Appending an entry: chained, stored, its fact and its rows written, or none of it.

    with engine.begin() as connection:
        accept(connection, …)
        append(connection, registry, CommandAccepted(…), actor=actor, now=now)

It happens in the caller's transaction. Appends wait for each other from here to the
commit, so it is best done last; a transaction that is undone leaves no gap. Facts come
in order and one at a time, so rows are always gone on from and never recomputed.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from db.copy import copy_facts
from db.declare import Entry
from db.errors import DatabaseError
from db.facts import Fact, columns_from_facts
from db.folding import fold_next
from db.journal.canonical import EntryRow, canonical, plain
from db.journal.head import Head, lock_head
from db.journal.keys import encrypt
from db.position import position
from db.registry import Registry
from db.schema import check_journal
from db.sql.columns import fact_table

_STORE = """
WITH entry AS (
    INSERT INTO control.journal_entry (seq, at, kind, actor, tenant, address, agent,
        signature, body, subject, personal, previous, hash)
    VALUES (%(seq)s, %(at)s, %(kind)s, %(actor)s, %(tenant)s, %(address)s, %(agent)s,
        %(signature)s, %(body)s, %(subject)s, %(personal)s, %(previous)s, %(hash)s)
), block AS (
    INSERT INTO control.block (source, height, hash, parent_hash, time)
    VALUES (%(source)s, %(seq)s, %(hash)s, %(previous)s, %(time)s)
), covered AS (
    UPDATE control.coverage SET blocks = int8multirange(int8range(0, %(seq)s, '[]'))
    WHERE source = %(source)s
), seen AS (
    UPDATE control.source SET head = %(seq)s, head_time = %(time)s, final = %(seq)s,
        polled_at = now()
    WHERE id = %(source)s
), told AS (
    SELECT pg_notify('chainfold', %(notice)s)
)
UPDATE control.journal_head SET seq = %(seq)s, hash = %(hash)s, at = %(at)s
FROM told WHERE source = %(source)s
"""


class UnknownEntry(DatabaseError):
    """An entry is not among the declarations that the tables were built from."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who speaks: an account, for which tenant, from where and with what."""

    name: str
    tenant: str = ""
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an entry stands in the journal."""

    seq: int
    hash: bytes
    at: datetime

    @property
    def position(self) -> int:
        """Its position as a fact."""
        return position(self.seq, 0)


def append(
    connection: Connection,
    registry: Registry,
    entry: Entry,
    *,
    actor: Actor,
    now: datetime,
    signature: bytes | None = None,
) -> Appended:
    """Append an entry in the caller's transaction.

    Its time is `now`, or that of the entry before if that is later: time never goes
    back in the journal. `signature` is a wallet's, kept as it is. Raises ValueError for
    values that have no canonical form.
    """
    spec = entry.spec
    if registry.events.get(spec.id) is not type(entry):
        raise UnknownEntry(
            f"{spec.id} is not declared: put it into entries.py of a domain"
        )
    head = lock_head(connection)
    if head.declared != registry.journal_print:
        check_journal(connection, registry, spec.id)
    row = _row(connection, entry, head, actor, now, signature)
    digest = row.digest()
    _store(connection, head, row, digest)
    seconds = int(row.at.timestamp())
    fact = Fact(type(entry), position(row.seq, 0), seconds, digest, entry.values)
    [columns] = columns_from_facts([fact])
    copy_facts(connection, fact_table(type(entry)), head.source, columns)
    fold_next(connection, registry, head.source, row.seq, spec.id)
    return Appended(row.seq, digest, row.at)


def _row(
    connection: Connection,
    entry: Entry,
    head: Head,
    actor: Actor,
    now: datetime,
    signature: bytes | None,
) -> EntryRow:
    spec = entry.spec
    body = {name: plain(f, entry.values[name]) for name, f in spec.fields.items()}
    canonical(body)  # before anything is written
    at = max(now.astimezone(UTC), head.at)
    subject, personal = entry.about, None
    if subject is not None:
        values = {n: plain(f, entry.personal[n]) for n, f in spec.personal.items()}
        personal = encrypt(
            connection, subject, values, kind=spec.id, seq=head.seq + 1, now=at
        )
    return EntryRow(
        seq=head.seq + 1, at=at, kind=spec.id,
        actor=_storable(actor.name), tenant=_storable(actor.tenant),
        address=_storable(actor.address), agent=_storable(actor.agent),
        signature=signature, body=body,
        subject=subject, personal=personal, previous=head.hash,
    )  # fmt: skip


def _storable(text: str) -> str:
    """What a client says of itself may hold anything; Postgres holds text."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _store(connection: Connection, head: Head, row: EntryRow, digest: bytes) -> None:
    values: dict[str, Any] = {name: getattr(row, name) for name in row.__slots__}
    values |= {
        "source": head.source,
        "hash": digest,
        "time": int(row.at.timestamp()),
        "body": json.dumps(row.body),
        "notice": f"{head.source}:{row.seq}:{row.seq}",
    }
    connection.exec_driver_sql(_STORE, values)
