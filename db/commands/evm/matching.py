"""Match a transaction of the index to the command that it carried out.

That is the command whose id is behind its calldata; without an id, one that asked for
the same target, value and data.

Calls of a contract that takes no id are told apart by target, value and data alone.
Commands that ask for the same are as good as each other then: what matters is that
there are no more transactions than commands. So a transaction that no nonce of ours
accounts for goes to the oldest that waits, and one that nobody asked for yet, made by
whoever else has the key, is taken for it too.
"""

import uuid
from typing import Protocol

from sqlalchemy import Connection, func, select, text

from db.commands.accept import CommandRow, find
from db.commands.evm.tags import command_id_of
from db.commands.watching import RELAY
from db.control import command, relay

# Of those that ask for the same, and may have been done there: waiting ones first, then
# those with a nonce of which the index has yet to tell, then those told as not done.
_ALIKE = text(
    """
    SELECT c.id FROM control.command c
    WHERE c.signer = :signer AND c.target = :target AND c.value = :value
        AND c.data = :data AND c.seen_from < :height
        AND (c.next_action_at IS NOT NULL
            OR c.state IN ('cancelled', 'expired', 'rejected', 'dropped'))
    ORDER BY c.state IN ('accepted', 'held') DESC, c.next_action_at IS NULL, c.id
    LIMIT 1
    """
)


class Made(Protocol):
    """The parts of an indexed transaction by which its command is recognised."""

    @property
    def recipient(self) -> bytes | None: ...
    @property
    def value(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def height(self) -> int: ...


def command_for(connection: Connection, signer: str, made: Made) -> CommandRow | None:
    """The command that a transaction of a signer's account was for, if one is known."""
    command_id = command_id_of(bytes(made.data))
    if command_id is None:
        command_id = connection.execute(
            _ALIKE,
            {
                "signer": signer, "target": made.recipient, "value": made.value,
                "data": made.data, "height": made.height,
            },
        ).scalar()  # fmt: skip
    return None if command_id is None else find(connection, command_id)


def signed_for_another(
    connection: Connection, row: CommandRow, nonce: int
) -> uuid.UUID | None:
    """The other command for which the wallet signed the same call at a nonce.

    Nobody else finds out the same until commit. A call with an id has no equal, and of
    what is only relayed all are done by one transaction.
    """
    if row.kind == RELAY or command_id_of(row.data) is not None:
        return None
    place = func.hashtextextended(f"{row.source}:{row.sender!r}:{nonce}", 0)
    connection.execute(select(func.pg_advisory_xact_lock(place)))
    query = select(command.c.id).join(relay, relay.c.command == command.c.id)
    other: uuid.UUID | None = connection.execute(
        query.where(
            command.c.source == row.source, command.c.sender == row.sender,
            command.c.target == row.target, command.c.value == row.value,
            command.c.data == row.data, command.c.kind != RELAY,
            command.c.id != row.id, relay.c.nonce == nonce,
        ).limit(1)
    ).scalar()  # fmt: skip
    return other
