"""Tables of the journal: its entries, where it ends, the keys of persons."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.control.base import metadata

# What was said, each entry chained to the one before by its hash; triggers refuse every
# change. `body` has the public values, `personal` the others, encrypted under the key
# of `subject`.
journal_entry = Table(
    "journal_entry",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("signature", LargeBinary),
    Column("body", JSONB, nullable=False),
    Column("subject", Text),
    Column("personal", LargeBinary),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint("seq > 0"),
    CheckConstraint("(subject IS NULL) = (personal IS NULL)"),
)
Index(
    "journal_entry_by_subject",
    journal_entry.c.subject,
    journal_entry.c.seq,
    postgresql_where=journal_entry.c.subject.is_not(None),
)
Index("journal_entry_by_actor", journal_entry.c.actor, journal_entry.c.seq)
Index("journal_entry_by_kind", journal_entry.c.kind, journal_entry.c.seq)
Index("journal_entry_by_time", journal_entry.c.at)

# The one row that every append holds until it commits: the last entry's number, hash
# and time, and which declarations its rows are made by.
journal_head = Table(
    "journal_head",
    metadata,
    Column(
        "source",
        SmallInteger,
        ForeignKey("control.source.id"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("declared", Text, nullable=False, server_default=""),
)

# The key of each person's values; None once the person was erased.
subject_key = Table(
    "subject_key",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("key", LargeBinary),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("erased_at", DateTime(timezone=True)),
    CheckConstraint("(key IS NULL) = (erased_at IS NOT NULL)"),
)
