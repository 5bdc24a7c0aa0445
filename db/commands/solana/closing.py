"""Commands are ended before their time: they are sent and signed no more."""

import uuid
from datetime import datetime

from sqlalchemy import Connection

from db.commands.accept import CommandRow, lock, move
from db.commands.states import TERMINAL, State


def cancel(connection: Connection, command_id: uuid.UUID, now: datetime) -> CommandRow:
    """Ask for an end: at once before it is signed, else once it can land no more.

    A transaction that lands first succeeds all the same: nothing can outrun it.
    """
    row = lock(connection, command_id)
    if row.state in TERMINAL or row.state in (State.CLOSING, State.INCLUDED):
        return row
    if row.state in (State.ACCEPTED, State.HELD):
        reason = "cancelled by request"
        if row.sender is not None:
            reason += ": its wallet can still send it, which is shown here"
        return move(connection, row, State.CANCELLED, now, reason=reason)
    asked = "its cancel was asked for: the chain will show whether it was in time"
    return move(connection, row, State.CLOSING, now, reason=asked)
