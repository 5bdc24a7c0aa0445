"""Actions of people on commands and signers of Solana clusters."""

import uuid
from datetime import datetime

from sqlalchemy import Connection

from db.commands.accept import CommandRow
from db.commands.signers import pause, set_hold
from db.commands.solana import closing
from db.commands.states import Hold


def cancel(connection: Connection, command_id: uuid.UUID, now: datetime) -> CommandRow:
    """Ask for a command's end: at once, or when what was signed can land no more."""
    return closing.cancel(connection, command_id, now)


def resume_signer(connection: Connection, name: str, now: datetime) -> None:
    """Let a halted signer sign again."""
    pause(connection, name, paused=False)
    set_hold(connection, name, Hold.NO)
