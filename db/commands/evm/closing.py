"""Commands are ended before their time: their nonce is used by something else."""

import uuid
from datetime import datetime

from sqlalchemy import Connection, select, update

from db.commands.accept import CommandRow, lock, move
from db.commands.errors import NotCancellable
from db.commands.states import TERMINAL, Closing, State
from db.control import slot


def cancel(connection: Connection, command_id: uuid.UUID, now: datetime) -> CommandRow:
    """Ask for an end: at once before a nonce is taken, else by a cancel transaction.

    A command whose call is mined first succeeds all the same. Raises NotCancellable
    for what a client's wallet has signed.
    """
    # Every transaction locks a slot before its command: the other order deadlocks.
    connection.execute(
        select(slot.c.nonce)
        .where(slot.c.command == command_id, slot.c.open)
        .with_for_update()
    )
    row = lock(connection, command_id)
    if row.state in TERMINAL:
        return row
    reason = "cancelled by request"
    if row.sender is not None:
        reason += ": its wallet can still send it, which is shown here"
    if row.state in (State.ACCEPTED, State.HELD):
        return move(connection, row, State.CANCELLED, now, reason=reason)
    if row.sender is not None:
        raise NotCancellable(
            f"command {row.id} is signed by the wallet 0x{row.sender.hex()}: only that "
            "wallet can use its nonce for something else, where its node lets it"
        )
    asked = "its cancel was asked for: the chain will show whether it was in time"
    return close(connection, row, now, Closing.CANCEL, asked)


def close(
    connection: Connection,
    row: CommandRow,
    now: datetime,
    closing: Closing,
    reason: str,
) -> CommandRow:
    """Have the nonce of a locked command used by a transaction that does nothing."""
    connection.execute(
        update(slot)
        .where(
            slot.c.command == row.id,
            slot.c.open,
            slot.c.closing.in_(("", Closing.REFUSED)),
        )
        .values(closing=closing, next_action_at=now)
    )
    if row.state in (State.INCLUDED, State.CLOSING):
        return row
    return move(connection, row, State.CLOSING, now, reason=reason)
