"""Logs that are facts although values of theirs had to be mended."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the column."""
    op.execute(
        "ALTER TABLE control.undecodable_log"
        " ADD COLUMN kept boolean NOT NULL DEFAULT false"
    )
