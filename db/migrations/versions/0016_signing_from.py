"""Nonces that are too far off to be believed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_KNOWN = """
CREATE FUNCTION control.known_nonce(of_signer text) RETURNS bigint
    LANGUAGE sql STABLE AS $$
        SELECT greatest(
            (SELECT max(t.nonce) + 1 FROM control.sender_transaction t
                WHERE t.source = g.source AND t.sender = g.address),
            (SELECT max(s.nonce) + 1 FROM control.slot s WHERE s.signer = g.name),
            (SELECT 0 FROM control.coverage c
                WHERE c.source = g.source AND c.event = 'chain.transactions'
                    AND c.filter = '0x' || encode(g.address, 'hex')
                    AND lower(c.blocks) = 0)
        ) FROM control.signer g WHERE g.name = of_signer
    $$
"""
_COMMENT = """
COMMENT ON FUNCTION control.known_nonce IS
    'The nonce after the last that a slot or the chain tells of; NULL: none is known.'
"""


def upgrade() -> None:
    """Make the function, and the table of what a person said."""
    op.execute(_KNOWN)
    op.execute(_COMMENT)
    op.create_table(
        "signing_from",
        sa.Column("chain", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("address", sa.LargeBinary, nullable=False),
        sa.Column("nonce", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("chain", "address"),
        schema="control",
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("signing_from", schema="control")
    op.execute("DROP FUNCTION control.known_nonce")
