"""Notices to people, and what became of each."""

from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE control.notice (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key text NOT NULL UNIQUE,
            name text NOT NULL,
            kind text NOT NULL,
            recipient text NOT NULL,
            texts jsonb NOT NULL,
            cause text NOT NULL,
            asked_at timestamptz NOT NULL,
            state text NOT NULL DEFAULT 'waiting',
            attempts integer NOT NULL DEFAULT 0,
            next_action_at timestamptz,
            reason text NOT NULL DEFAULT '',
            sent_at timestamptz
        )
        """
    )
    op.execute(
        "CREATE INDEX notice_waiting ON control.notice (next_action_at)"
        " WHERE next_action_at IS NOT NULL"
    )
