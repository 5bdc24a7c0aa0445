"""One transaction on Solana may be an attempt of several accounts' commands."""

from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Tell attempts by their signature and their command, as relayed bytes are."""
    op.execute(
        """
        ALTER TABLE control.solana_attempt
            DROP CONSTRAINT solana_attempt_pkey,
            ADD PRIMARY KEY (signature, command)
        """
    )
