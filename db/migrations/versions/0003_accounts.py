"""The accounts: who may sign in, and as what."""

from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = """
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
