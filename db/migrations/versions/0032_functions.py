"""The digests of the SQL functions that were loaded (`db.functions`)."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0027"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "function",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        schema="control",
    )
