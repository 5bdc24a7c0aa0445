"""The outcome of a call that its wallet sent although its command had ended."""

import logging
from datetime import datetime

from sqlalchemy import Connection, update

from db.commands.accept import CommandRow, as_row, record
from db.commands.spelling import transaction_text
from db.commands.states import State
from db.control import command

log = logging.getLogger(__name__)


def tell_late(
    connection: Connection,
    row: CommandRow,
    transaction: bytes,
    height: int,
    now: datetime,
    *,
    succeeded: bool,
) -> CommandRow:
    """Record the outcome beside the state of a locked command, which stays."""
    outcome = State.SUCCEEDED if succeeded else State.REVERTED
    changed = {"late_outcome": outcome, "transaction": transaction, "height": height}
    updated = connection.execute(
        update(command)
        .where(command.c.id == row.id)
        .values(changed | {"version": row.version + 1})
        .returning(*command.columns)
    ).one()
    reason = f"it was {row.state}, and its wallet executed it afterwards"
    details = changed | {"transaction": transaction_text(transaction), "reason": reason}
    record(connection, row.id, row.state, details, now)
    log.warning("command_executed_late command=%s state=%s", row.id, row.state)
    return as_row(updated)
