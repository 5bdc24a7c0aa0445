"""Resolutions of incidents, troubles of chains, and the processes that follow them."""

from alembic import op

revision = "0025"
down_revision = "0016"

_COLUMNS = """
ALTER TABLE control.incident ADD COLUMN resolved_by text, ADD COLUMN resolution text;
ALTER TABLE control.source
    ADD COLUMN trouble text NOT NULL DEFAULT '',
    ADD COLUMN state_since timestamptz, ADD COLUMN told_at timestamptz;
ALTER TABLE control.follower ADD COLUMN process text NOT NULL DEFAULT '';
ALTER TABLE control.lease ADD COLUMN process text NOT NULL DEFAULT '';
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(_COLUMNS)
