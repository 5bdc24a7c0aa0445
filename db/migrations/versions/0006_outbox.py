"""Commands from people and reactions."""

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = """
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
