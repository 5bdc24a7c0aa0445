"""The memory of signers and their budgets; when a slot is looked at again."""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = """
CREATE TABLE control.signed (
    chain bigint NOT NULL,
    address bytea NOT NULL,
    nonce bigint NOT NULL,
    is_self_transfer boolean NOT NULL,
    digest bytea NOT NULL,
    value numeric(78,0) NOT NULL CHECK (value >= 0),
    gas_cost numeric(78,0) NOT NULL CHECK (gas_cost >= 0),
    times integer NOT NULL DEFAULT 1,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (chain, address, nonce, is_self_transfer),
    CHECK (NOT is_self_transfer OR value = 0)
);
CREATE TABLE control.signing_day (
    chain bigint NOT NULL,
    address bytea NOT NULL,
    day date NOT NULL,
    value numeric(78,0) NOT NULL DEFAULT 0,
    gas_cost numeric(78,0) NOT NULL DEFAULT 0,
    PRIMARY KEY (chain, address, day)
);
CREATE TABLE control.signing_stop (
    scope text PRIMARY KEY,
    reason text NOT NULL,
    stopped_at timestamptz NOT NULL
);
ALTER TABLE control.signer
    ADD COLUMN checked_nonce bigint NOT NULL DEFAULT 0,
    ADD COLUMN hold text NOT NULL DEFAULT '',
    ADD COLUMN hold_reason text NOT NULL DEFAULT '';
UPDATE control.signer SET checked_nonce = first_nonce;
CREATE INDEX command_held ON control.command (signer, next_action_at)
    WHERE state = 'held';
ALTER TABLE control.slot
    ADD COLUMN next_action_at timestamptz,
    ADD COLUMN hash bytea,
    ADD COLUMN height bigint,
    DROP CONSTRAINT slot_closing_check,
    ADD CONSTRAINT slot_closing_check
        CHECK (closing IN ('', 'cancel', 'deadline', 'refused'));
UPDATE control.slot SET next_action_at = taken_at;
ALTER TABLE control.slot ALTER COLUMN next_action_at SET NOT NULL;
ALTER TABLE control.attempt
    ADD COLUMN priority_fee numeric(78,0),
    ADD COLUMN node_hash bytea;
"""


def upgrade() -> None:
    """Make the tables, and give slots the time at which they are looked at."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
