"""Proofs of blocks, traits of chains, and validators."""

from alembic import op

revision = "0010"
down_revision = "0008"

_TABLES = """
CREATE TABLE control.proof (
    source smallint NOT NULL,
    level text NOT NULL CHECK (level IN ('hash', 'seals', 'bloom', 'receipts')),
    blocks int8multirange NOT NULL,
    PRIMARY KEY (source, level)
);
ALTER TABLE control.source ADD COLUMN traits jsonb NOT NULL DEFAULT '{}';
CREATE TABLE control.validator_set (
    source smallint NOT NULL,
    height bigint NOT NULL,
    hash bytea NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (source, height)
)
"""


def upgrade() -> None:
    """Make the tables and the column."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
