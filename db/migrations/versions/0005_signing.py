"""The memory of signers, and their budgets."""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = """
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
