"""Refunds that entries ask for, and requests of reactions that were withdrawn."""

from alembic import op

revision = "0037"
down_revision = "0036"

_TABLES = """
CREATE TABLE control.stripe_refund (
    ask bigint PRIMARY KEY,
    charge text NOT NULL,
    domain text NOT NULL,
    purchase text NOT NULL,
    amount bigint NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    asked_at timestamptz,
    refund text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'open',
    cause text NOT NULL DEFAULT '',
    next_at timestamptz NOT NULL
);
CREATE INDEX stripe_refund_open ON control.stripe_refund (next_at)
    WHERE state = 'open';
CREATE INDEX stripe_refund_by_charge ON control.stripe_refund (charge, ask);
ALTER TABLE control.outbox ADD COLUMN withdrawn_because text NOT NULL DEFAULT ''
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
