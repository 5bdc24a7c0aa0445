"""Tables of what time asked for: rows that were due, and runs of schedules."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from db.control.base import metadata

# A row that was due and was given to its function: `row` is its key, as JSON.
due_done = Table(
    "due_done",
    metadata,
    Column("source", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("row", Text, nullable=False),
    Column("moment", Numeric(78, 0), nullable=False),
    Column("done_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("source", "name", "row", "moment"),
)

# A schedule by its name: the rule that `next_at` was computed from.
schedule = Table(
    "schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
)

# A run of a schedule: `at` is the time of the rule, or of the request of `asked_by`.
schedule_run = Table(
    "schedule_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("ran_at", DateTime(timezone=True), nullable=False),
    Column("asked_by", Text, nullable=False, server_default=""),
    Column("asked_for", BigInteger, nullable=False, server_default="0"),
)

Index("schedule_run_last", schedule_run.c.name, schedule_run.c.id)
Index(
    "schedule_run_once",
    schedule_run.c.name,
    schedule_run.c.at,
    unique=True,
    postgresql_where=schedule_run.c.asked_by == "",
)

# A run that a person asked for, until it is done.
schedule_request = Table(
    "schedule_request",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
)
