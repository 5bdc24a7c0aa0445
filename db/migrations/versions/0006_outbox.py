"""Commands of people, wallets and reactions; what reactions ask for."""

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = """
ALTER TABLE control.command
    ALTER COLUMN signer DROP NOT NULL,
    ADD COLUMN sender bytea,
    ADD COLUMN seen_from bigint NOT NULL DEFAULT 0,
    ADD COLUMN asked_by text NOT NULL DEFAULT '',
    ADD COLUMN cause text NOT NULL DEFAULT '',
    ADD CHECK (signer IS NULL OR sender IS NULL);
CREATE INDEX command_of_wallet ON control.command (source, sender)
    WHERE sender IS NOT NULL AND next_action_at IS NOT NULL;
CREATE INDEX command_by_tenant ON control.command (tenant, id);
CREATE INDEX command_by_state ON control.command (state, kind, id);
CREATE TABLE control.relay (
    hash bytea NOT NULL,
    command uuid NOT NULL REFERENCES control.command (id),
    nonce numeric(78,0) NOT NULL,
    raw bytea NOT NULL,
    relayed_at timestamptz NOT NULL,
    sent_count integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    answer text NOT NULL DEFAULT '',
    PRIMARY KEY (hash, command)
);
CREATE INDEX relay_by_command ON control.relay (command);
CREATE TABLE control.reaction (
    source smallint NOT NULL REFERENCES control.source (id),
    name text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (source, name)
);
CREATE TABLE control.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source smallint NOT NULL REFERENCES control.source (id),
    key text NOT NULL,
    kind text NOT NULL,
    arguments jsonb NOT NULL,
    cause text NOT NULL,
    asked_at timestamptz NOT NULL,
    next_action_at timestamptz,
    command uuid REFERENCES control.command (id),
    refusal text NOT NULL DEFAULT '',
    UNIQUE (source, key)
);
CREATE INDEX outbox_due ON control.outbox (next_action_at)
    WHERE next_action_at IS NOT NULL;
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
