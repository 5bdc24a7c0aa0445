"""Names of columns say what they hold: `late_outcome` (was ran), `processed`."""

from alembic import op

revision = "0034"
down_revision = "0033"

_RENAMES = """
ALTER TABLE control.command RENAME COLUMN ran TO late_outcome;
ALTER TABLE control.command
    RENAME CONSTRAINT command_ran_check TO command_late_outcome_check;
ALTER INDEX control.command_ran RENAME TO command_late_outcome;
UPDATE control.command_event SET details = details - 'ran'
    || jsonb_build_object('late_outcome', details -> 'ran')
    WHERE details ? 'ran';
ALTER TABLE control.sender_transaction RENAME COLUMN examined TO processed;
ALTER INDEX control.sender_transaction_unexamined
    RENAME TO sender_transaction_unprocessed;
UPDATE control.signer SET hold = 'signer-unavailable' WHERE hold = 'signer-away'
"""


def upgrade() -> None:
    """Rename the columns, and what is named after them."""
    for statement in _RENAMES.split(";"):
        op.execute(statement)
