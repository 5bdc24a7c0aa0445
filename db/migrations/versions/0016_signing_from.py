"""Nonces that are too far off to be believed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the table of what a person said."""
    op.create_table(
        "signing_from",
        sa.Column("chain", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("address", sa.LargeBinary, nullable=False),
        sa.Column("nonce", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("chain", "address"),
        schema="control",
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("signing_from", schema="control")
