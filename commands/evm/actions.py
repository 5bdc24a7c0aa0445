"""Actions of people on commands and signers of EVM chains."""

import uuid
from datetime import datetime

from sqlalchemy import Connection

from db import sources
from db.commands.accept import CommandRow, find
from db.commands.evm import closing, holding
from db.commands.evm.wallets import settle_wallet_command


def cancel(connection: Connection, command_id: uuid.UUID, now: datetime) -> CommandRow:
    """Ask for a command's end; raises NotCancellable.

    A wallet's command is first compared with the index: its transaction may have ended
    it already.
    """
    asked = find(connection, command_id)
    if asked is not None and asked.sender is not None:
        final = sources.by_id(connection, asked.source).final
        settle_wallet_command(connection, command_id, final=final, now=now)
    return closing.cancel(connection, command_id, now)


def resume_signer(connection: Connection, name: str, now: datetime) -> None:
    """Let a halted signer sign again; what it was halted for is known from then on."""
    holding.resume_signer(connection, name, now)
