"""Signed transactions of commands on Solana, and the memory of signers."""

from alembic import op

revision = "0036"
down_revision = "0035"

_TABLES = """
CREATE TABLE control.signed_intent (
    chain text NOT NULL,
    address bytea NOT NULL,
    intent bytea NOT NULL,
    signature bytea NOT NULL,
    digest bytea NOT NULL,
    slot bigint NOT NULL,
    last_valid bigint NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (chain, address, intent, signature)
);
CREATE TABLE control.spent_day (
    chain text NOT NULL,
    address bytea NOT NULL,
    day date NOT NULL,
    asset bytea NOT NULL,
    amount numeric(78,0) NOT NULL DEFAULT 0,
    PRIMARY KEY (chain, address, day, asset)
);
CREATE TABLE control.solana_attempt (
    signature bytea PRIMARY KEY,
    command uuid NOT NULL REFERENCES control.command (id),
    signer text NOT NULL REFERENCES control.signer (name),
    number integer NOT NULL,
    raw bytea NOT NULL,
    slot bigint NOT NULL,
    last_valid bigint NOT NULL,
    fee bigint NOT NULL,
    signed_at timestamptz NOT NULL,
    sent_count integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    answer text NOT NULL DEFAULT '',
    past_slot bigint,
    state text NOT NULL DEFAULT 'open',
    next_action_at timestamptz NOT NULL,
    UNIQUE (command, number)
);
CREATE INDEX solana_attempt_open ON control.solana_attempt (signer, next_action_at)
    WHERE state = 'open'
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
