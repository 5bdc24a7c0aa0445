"""Rows that were due, schedules and their runs (`db.control.timers`)."""

from alembic import op

revision = "0033"
down_revision = "0028"

_TABLES = """
CREATE TABLE control.due_done (
    source smallint NOT NULL,
    name text NOT NULL,
    row text NOT NULL,
    moment numeric(78,0) NOT NULL,
    done_at timestamptz NOT NULL,
    PRIMARY KEY (source, name, row, moment)
);
CREATE TABLE control.schedule (
    name text PRIMARY KEY,
    rule text NOT NULL,
    zone text NOT NULL,
    next_at timestamptz NOT NULL
);
CREATE TABLE control.schedule_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    at timestamptz NOT NULL,
    ran_at timestamptz NOT NULL,
    asked_by text NOT NULL DEFAULT '',
    asked_for bigint NOT NULL DEFAULT 0
);
CREATE TABLE control.schedule_request (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX schedule_run_once ON control.schedule_run (name, at)
    WHERE asked_by = '';
CREATE INDEX schedule_run_last ON control.schedule_run (name, id)
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
