"""The journal: facts that are not public."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = """
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
