"""Projections of the audit log."""

from db.declare import EVERYONE, First, Key, Projection
from db.journal.audit import entries as e


class JournalDay(Projection):
    """One day of the journal, with the hash that is put on a chain."""

    day = Key()

    first = First(e.DayClosed.first)
    last = First(e.DayClosed.last)
    root = First(e.DayClosed.root)
    last_hash = First(e.DayClosed.last_hash)
    closed_at = First(e.DayClosed.block_time)

    readable_by = EVERYONE
