"""The root of a day: the Merkle root of all its entries.

It is the Merkle root (`db.journal.merkle`) over the entries of a UTC day in order, each
a leaf of its number (8 bytes, big-endian) and its hash. It is put on a chain together
with the hash of the day's last entry, to which all entries before it are chained: who
would change, add or cut off anything before would need another hash there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from eth_utils.crypto import keccak
from sqlalchemy import Connection, Date, func, select

from db.control import journal_entry
from db.control import source as source_table
from db.errors import DatabaseError
from db.journal import merkle
from db.journal.append import Actor, append
from db.journal.audit.entries import DayClosed
from db.journal.entries import read_entry
from db.journal.head import SOURCE, lock_head
from db.registry import Registry

KIND = 600  # of anchors: the root of a day of the journal


class DayNotOver(DatabaseError):
    """Entries may still be added to the day."""


@dataclass(frozen=True, slots=True)
class DayRoot:
    """The Merkle root of a day's entries."""

    day: date
    first: int
    last: int
    root: bytes
    last_hash: bytes

    @property
    def ended_at(self) -> int:
        """The first second after the day, since 1970."""
        return int(_midnight(self.day + timedelta(days=1)).timestamp())


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The proof that an entry is in the root of its day."""

    seq: int
    hash: bytes
    steps: list[merkle.ProofStep]
    day: DayRoot

    @property
    def holds(self) -> bool:
        """Whether the steps lead from the entry to the root."""
        return merkle.proves(_content(self.seq, self.hash), self.steps, self.day.root)


def day_root(connection: Connection, day: date) -> DayRoot | None:
    """Return the root of a day's entries as they are now; None without entries."""
    entries = _entries(connection, day)
    if not entries:
        return None
    root = merkle.root([merkle.leaf(_content(*entry)) for entry in entries])
    return DayRoot(day, entries[0][0], entries[-1][0], root, entries[-1][1])


def close_day(
    connection: Connection,
    registry: Registry,
    day: date,
    *,
    actor: Actor,
    now: datetime,
) -> DayRoot | None:
    """Append a day's root to the journal, once; None for a day without entries.

    What is said later is later by the journal's own clock, which never goes back, so
    that the root is final. Raises DayNotOver.
    """
    if now < _midnight(day + timedelta(days=1)):
        raise DayNotOver(f"{day} is not over (UTC): close it tomorrow")
    lock_head(connection)
    for closed in closed_days(connection, day):
        return closed
    found = day_root(connection, day)
    if found is None:
        return None
    entry = DayClosed(
        day=day.isoformat(),
        first=found.first,
        last=found.last,
        root=found.root,
        last_hash=found.last_hash,
    )
    append(connection, registry, entry, actor=actor, now=now)
    return found


def closed_days(connection: Connection, day: date | None = None) -> Iterator[DayRoot]:
    """Return the roots of days that are over, or of one day, in order."""
    query = select(journal_entry.c.body).where(
        journal_entry.c.kind == DayClosed.spec.id
    )
    if day is not None:
        recorded_day = journal_entry.c.body["day"].astext
        query = query.where(
            recorded_day == day.isoformat(),
            journal_entry.c.at >= _midnight(day + timedelta(days=1)),
        )
    for body in connection.execute(query.order_by(journal_entry.c.seq)).scalars():
        yield DayRoot(
            date.fromisoformat(body["day"]),
            int(body["first"]),
            int(body["last"]),
            bytes.fromhex(body["root"][2:]),
            bytes.fromhex(body["last_hash"][2:]),
        )


def inclusion(connection: Connection, seq: int) -> Inclusion:
    """The proof that an entry is in the root of its day; raises LookupError."""
    found = read_entry(connection, seq)
    if found is None:
        raise LookupError(f"the journal has no entry {seq}")
    row, digest = found
    day = row.at.astimezone(UTC).date()
    entries = _entries(connection, day)
    leaves = [merkle.leaf(_content(*entry)) for entry in entries]
    steps = merkle.proof(leaves, seq - entries[0][0])
    root = merkle.root(leaves)
    whole = DayRoot(day, entries[0][0], entries[-1][0], root, entries[-1][1])
    return Inclusion(seq, digest, steps, whole)


def subject(connection: Connection) -> bytes:
    """Return the subject of this journal's anchors, made from its first entry."""
    query = select(source_table.c.genesis).where(source_table.c.id == SOURCE)
    return keccak(b"chainfold/journal/" + bytes(connection.execute(query).scalar_one()))


def last_day_over(connection: Connection, now: datetime) -> date | None:
    """Return the last day before today with entries."""
    query = select(func.max(journal_entry.c.at)).where(
        journal_entry.c.at < _midnight(now.astimezone(UTC).date())
    )
    found: datetime | None = connection.execute(query).scalar()
    return None if found is None else found.astimezone(UTC).date()


def days_over(connection: Connection, now: datetime, most: int = 40) -> list[date]:
    """Return the days before today with entries, within the last so many days."""
    today = now.astimezone(UTC).date()
    day = func.date(func.timezone("UTC", journal_entry.c.at), type_=Date)
    query = (
        select(day.label("day"))
        .distinct()
        .where(
            journal_entry.c.at >= _midnight(today - timedelta(days=most)),
            journal_entry.c.at < _midnight(today),
        )
    )
    return sorted(connection.execute(query).scalars())


def _entries(connection: Connection, day: date) -> list[tuple[int, bytes]]:
    query = (
        select(journal_entry.c.seq, journal_entry.c.hash)
        .where(journal_entry.c.at >= _midnight(day))
        .where(journal_entry.c.at < _midnight(day + timedelta(days=1)))
        .order_by(journal_entry.c.seq)
    )
    return [(seq, bytes(digest)) for seq, digest in connection.execute(query)]


def _content(seq: int, digest: bytes) -> bytes:
    return seq.to_bytes(8, "big") + digest


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
