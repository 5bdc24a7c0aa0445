"""Outcomes after a command's end, watched wallets, and their limits."""

from alembic import op

revision = "0008"
down_revision = "0006"

_TABLES = """
ALTER TABLE control.command
    ADD COLUMN ran text NOT NULL DEFAULT ''
        CHECK (ran IN ('', 'succeeded', 'reverted'));
CREATE INDEX command_ran ON control.command (id) WHERE ran <> '';
CREATE INDEX command_of_account ON control.command (tenant)
    WHERE sender IS NOT NULL AND next_action_at IS NOT NULL;
UPDATE control.command SET valid_until = now() + interval '1 day'
    WHERE sender IS NOT NULL AND next_action_at IS NOT NULL AND valid_until IS NULL;
CREATE TABLE control.wallet_watch (
    source smallint NOT NULL REFERENCES control.source (id),
    sender bytea NOT NULL,
    seen_from bigint NOT NULL,
    ended_at timestamptz NOT NULL,
    PRIMARY KEY (source, sender)
);
CREATE INDEX wallet_watch_by_end ON control.wallet_watch (source, ended_at);
ALTER TABLE control.sender_transaction
    ADD COLUMN examined boolean NOT NULL DEFAULT true;
ALTER TABLE control.sender_transaction ALTER COLUMN examined SET DEFAULT false;
CREATE INDEX sender_transaction_unexamined
    ON control.sender_transaction (source, position)
    WHERE NOT examined
        AND right(encode(data, 'hex'), 32) = 'c4a1f01d80218021c4a1f01d80218021';
"""


def upgrade() -> None:
    """Make the columns and the table."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
