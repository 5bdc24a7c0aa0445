"""Listings of signatures, transactions that failed, and facts numbered by these."""

from alembic import op

revision = "0028"
down_revision = "0032"

_TABLES = """
CREATE TABLE control.signature (
    source smallint NOT NULL,
    address bytea NOT NULL,
    slot bigint NOT NULL,
    signature bytea NOT NULL,
    written boolean NOT NULL DEFAULT false,
    final boolean NOT NULL DEFAULT false,
    PRIMARY KEY (source, address, slot, signature)
);
CREATE INDEX signature_open ON control.signature (source, slot) WHERE NOT final;
CREATE INDEX signature_unwritten ON control.signature (source, slot)
    WHERE NOT written;
CREATE TABLE control.listing (
    source smallint NOT NULL,
    address bytea NOT NULL,
    slots int8multirange NOT NULL,
    PRIMARY KEY (source, address)
);
CREATE TABLE control.failed_transaction (
    source smallint NOT NULL,
    position bigint NOT NULL,
    block_time bigint NOT NULL,
    transaction bytea NOT NULL,
    program bytea,
    code bigint,
    error text NOT NULL,
    PRIMARY KEY (source, position)
);
ALTER TABLE control.source DROP CONSTRAINT source_ordinals_check;
ALTER TABLE control.source ADD CHECK (
    ordinals IN ('rank', 'log_index', 'transaction'))
"""


def upgrade() -> None:
    """Make the tables, and let the new way of numbering in."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
