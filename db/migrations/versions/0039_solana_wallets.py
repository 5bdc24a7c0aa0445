"""Transactions on Solana that clients' wallets signed."""

from alembic import op

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    """Let attempts be without a signer, and make the table of wallets."""
    op.execute("ALTER TABLE control.solana_attempt ALTER COLUMN signer DROP NOT NULL")
    op.execute(
        """
        CREATE TABLE control.solana_wallet (
            source smallint NOT NULL,
            address bytea NOT NULL,
            looked_at timestamptz NOT NULL,
            examined bigint NOT NULL DEFAULT -1,
            PRIMARY KEY (source, address)
        )
        """
    )
