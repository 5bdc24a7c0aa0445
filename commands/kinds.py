"""The chain kinds that commands go to; the only module that names them all."""

import uuid
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from commands.evm import actions as evm
from commands.solana import actions as solana
from db import sources
from db.commands.accept import CommandRow


class ChainActions(Protocol):
    """Actions on commands and signers that differ between kinds of chains."""

    def cancel(
        self, connection: Connection, command_id: uuid.UUID, now: datetime, /
    ) -> CommandRow:
        """Ask for a command's end; raises NotCancellable."""
        ...

    def resume_signer(
        self, connection: Connection, name: str, now: datetime, /
    ) -> None:
        """Let a halted signer sign again."""
        ...


# By the namespace of a chain's id (CAIP-2).
KINDS: dict[str, ChainActions] = {"eip155": evm, "solana": solana}


def kind_of(connection: Connection, source: int) -> ChainActions:
    """Return the actions of the chain of that number in the database.

    What only the journal records has ended when it is accepted: any kind will do.
    """
    namespace = sources.by_id(connection, source).chain_id.partition(":")[0]
    return KINDS[namespace]
