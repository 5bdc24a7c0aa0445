"""Coverage of children by the event field that announces them, not by the event alone.

One event may announce children in several fields, and each field has its own history.
Rows of an event with one such field are renamed. What was read by other events is read
again: nothing tells which field it was.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0027"
down_revision = "0025"

_RENAME = sa.text(
    """
    UPDATE control.coverage SET
        filter = CASE filter WHEN 'factory:' || :event THEN 'factory:' || :field
            ELSE filter END,
        event = CASE event WHEN 'children:' || :event THEN 'children:' || :field
            ELSE event END
    WHERE filter = 'factory:' || :event OR event = 'children:' || :event
    """
)


def upgrade() -> None:
    """Rename the rows of events that announce children in one field."""
    fields: dict[str, list[str]] = {}
    for name, maker in context.config.attributes["makers"].items():
        fields.setdefault(maker.view.event.spec.id, []).append(name)
    for event, names in fields.items():
        if len(names) == 1:
            op.execute(_RENAME.bindparams(event=event, field=names[0]))
