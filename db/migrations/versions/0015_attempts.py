"""The index's reach when an attempt was signed, and its refusals by nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns; of attempts before, neither is known."""
    op.add_column("attempt", sa.Column("reach", sa.BigInteger), schema="control")
    op.add_column(
        "attempt",
        sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),
        schema="control",
    )


def downgrade() -> None:
    """Forget both."""
    op.drop_column("attempt", "refusals", schema="control")
    op.drop_column("attempt", "reach", schema="control")
