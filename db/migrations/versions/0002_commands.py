"""The write side: commands, signers, nonces as rows, attempts, their history."""

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = """
CREATE TABLE control.signer (
    name text PRIMARY KEY,
    source smallint NOT NULL REFERENCES control.source (id),
    address bytea NOT NULL,
    first_nonce bigint NOT NULL,
    next_nonce bigint NOT NULL CHECK (next_nonce >= first_nonce),
    gate_height bigint NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    reason text NOT NULL DEFAULT '',
    max_in_flight integer NOT NULL CHECK (max_in_flight > 0),
    UNIQUE (source, address)
);
CREATE TABLE control.command (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    kind text NOT NULL,
    arguments jsonb NOT NULL,
    source smallint NOT NULL REFERENCES control.source (id),
    signer text NOT NULL REFERENCES control.signer (name),
    target bytea NOT NULL,
    data bytea NOT NULL,
    value numeric(78,0) NOT NULL DEFAULT 0,
    gas_limit bigint NOT NULL,
    valid_until timestamptz,
    state text NOT NULL CHECK (state IN ('accepted', 'held', 'slotted', 'signed',
        'included', 'closing', 'rejected', 'expired', 'succeeded', 'reverted',
        'cancelled', 'dropped')),
    reason text NOT NULL DEFAULT '',
    version integer NOT NULL DEFAULT 1,
    next_action_at timestamptz,
    created_at timestamptz NOT NULL,
    transaction bytea,
    height bigint,
    UNIQUE (tenant, idempotency_key),
    CHECK ((next_action_at IS NULL) = (state IN ('rejected', 'expired', 'succeeded',
        'reverted', 'cancelled', 'dropped')))
);
CREATE INDEX command_due ON control.command (next_action_at)
    WHERE next_action_at IS NOT NULL;
CREATE INDEX command_waiting ON control.command (signer, id) WHERE state = 'accepted';
CREATE TABLE control.slot (
    signer text NOT NULL REFERENCES control.signer (name),
    nonce bigint NOT NULL,
    command uuid REFERENCES control.command (id),
    open boolean NOT NULL DEFAULT true,
    closing text NOT NULL DEFAULT '' CHECK (closing IN ('', 'cancel', 'deadline')),
    resolution text NOT NULL DEFAULT '',
    taken_at timestamptz NOT NULL,
    PRIMARY KEY (signer, nonce)
);
CREATE UNIQUE INDEX slot_one_open_for_a_command ON control.slot (command)
    WHERE open AND command IS NOT NULL;
CREATE INDEX slot_open ON control.slot (signer, nonce) WHERE open;
CREATE TABLE control.attempt (
    signer text NOT NULL,
    nonce bigint NOT NULL,
    number integer NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('call', 'cancel', 'filler')),
    raw bytea NOT NULL,
    hash bytea NOT NULL UNIQUE,
    gas_price numeric(78,0) NOT NULL,
    signed_at timestamptz NOT NULL,
    sent_count integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    answer text NOT NULL DEFAULT '',
    PRIMARY KEY (signer, nonce, number),
    FOREIGN KEY (signer, nonce) REFERENCES control.slot (signer, nonce)
);
CREATE TABLE control.command_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command uuid NOT NULL REFERENCES control.command (id),
    at timestamptz NOT NULL,
    state text NOT NULL,
    details jsonb NOT NULL
);
CREATE INDEX command_event_by_command ON control.command_event (command, id);
"""


def upgrade() -> None:
    """Make the tables of the write side."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
