"""Personal values: encrypted under a person's key, and lost with it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from db.control import journal_entry, subject_key
from db.journal.append import Actor, Appended, append
from db.journal.audit.entries import SubjectErased
from db.journal.entries import read_entry
from db.journal.head import lock_head
from db.journal.keys import decrypt, delete_key, find_key, is_erased
from db.registry import Registry


@dataclass(frozen=True, slots=True)
class PersonalValues:
    """The personal values of one entry; `values` None: the person was erased."""

    seq: int
    kind: str
    at: datetime
    values: dict[str, Any] | None


def read_personal(connection: Connection, seq: int) -> PersonalValues:
    """The personal values of an entry, none of one that has none.

    Raises LookupError when there is no such entry.
    """
    found = read_entry(connection, seq)
    if found is None:
        raise LookupError(f"the journal has no entry {seq}")
    row = found[0]
    if row.subject is None or row.personal is None:
        return PersonalValues(seq, row.kind, row.at, {})
    key = find_key(connection, row.subject)
    values = None
    if key is not None:
        values = decrypt(key, row.personal, kind=row.kind, seq=seq)
    return PersonalValues(seq, row.kind, row.at, values)


def erase(
    connection: Connection,
    registry: Registry,
    subject: str,
    *,
    actor: Actor,
    now: datetime,
) -> Appended | None:
    """Delete a subject's key and append an entry; None: it was deleted before.

    What was kept under the key cannot be read from the commit on, and nothing is kept
    under the same name again.
    """
    lock_head(connection)  # as every append does first: a key is never waited for
    if is_erased(connection, subject):
        return None
    entry = SubjectErased(subject=subject)
    done = append(connection, registry, entry, actor=actor, now=now)
    delete_key(connection, subject, now)
    return done


def erase_again(connection: Connection, now: datetime) -> list[str]:
    """Delete the keys of all subjects erased in the journal; returns the subjects.

    For after a restore: the keys may come from a backup that is older than the journal.
    """
    lock_head(connection)
    recorded_subject = journal_entry.c.body["subject"].astext
    query = (
        select(subject_key.c.subject)
        .join(journal_entry, recorded_subject == subject_key.c.subject)
        .where(journal_entry.c.kind == SubjectErased.spec.id)
        .where(subject_key.c.key.is_not(None))
        .distinct()
        .order_by(subject_key.c.subject)
    )
    subjects = list(connection.execute(query).scalars())
    for subject in subjects:
        delete_key(connection, subject, now)
    return subjects
