"""Commands that wait, held, while their signer refuses them or they would fail."""

import uuid
from datetime import datetime

from sqlalchemy import Connection, select, update

from db.commands.accept import CommandRow, as_row, lock, move
from db.commands.states import State
from db.control import command


def hold_command(
    connection: Connection,
    command_id: uuid.UUID,
    reason: str,
    now: datetime,
    *,
    again_at: datetime,
) -> bool:
    """Put a waiting command aside until `again_at`; it has no nonce and blocks none."""
    row = lock(connection, command_id)
    if row.state is State.HELD:
        connection.execute(
            update(command)
            .where(command.c.id == command_id)
            .values(next_action_at=again_at, reason=reason)
        )
        return True
    if row.state is not State.ACCEPTED:
        return False
    move(connection, row, State.HELD, now, reason=reason, next_action_at=again_at)
    return True


def due_held(connection: Connection, name: str, now: datetime) -> list[CommandRow]:
    """The held commands of a signer whose time to be looked at has come."""
    query = (
        select(command)
        .where(
            command.c.signer == name, command.c.state == State.HELD,
            command.c.next_action_at <= now,
        )
        .order_by(command.c.id)
        .limit(64)
    )  # fmt: skip
    return [as_row(row) for row in connection.execute(query)]


def release(connection: Connection, command_id: uuid.UUID, now: datetime) -> CommandRow:
    """Let a held command wait for a nonce again; one whose time is over is expired."""
    row = lock(connection, command_id)
    if row.state is not State.HELD:
        return row
    if row.valid_until is not None and row.valid_until <= now:
        return move(connection, row, State.EXPIRED, now, reason="its time was over")
    return move(connection, row, State.ACCEPTED, now)
