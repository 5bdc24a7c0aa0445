"""Find calls that failed in a final block and whose commands are not settled."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

_OF_SLOT = text(
    """
    SELECT g.address AS sender, t.recipient, t.value, t.data, t.gas_used,
        t.position >> 32 AS height, c.gas_limit, t.revert_data
    FROM control.slot s
    JOIN control.signer g ON g.name = s.signer
    JOIN control.source src ON src.id = g.source
    JOIN control.command c ON c.id = s.command
    JOIN control.sender_transaction t
        ON t.source = g.source AND t.sender = g.address AND t.nonce = s.nonce
    WHERE s.signer = :signer AND s.nonce = :nonce AND s.open
        AND NOT t.succeeded AND t.position >> 32 <= src.final
        AND t.recipient = c.target AND t.data = c.data
    """
)
_OF_WALLET = text(
    """
    SELECT c.sender, t.recipient, t.value, t.data, t.gas_used,
        t.position >> 32 AS height, c.gas_limit, t.revert_data
    FROM control.command c
    JOIN control.sender_transaction t
        ON t.source = c.source AND t.sender = c.sender
        AND t.recipient = c.target AND t.data = c.data AND t.value = c.value
    WHERE c.id = :command AND c.next_action_at IS NOT NULL
        AND NOT t.succeeded AND t.position >> 32 <= :final
    ORDER BY t.position LIMIT 1
    """
)


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that is in a final block and failed; its value is in wei.

    `revert_data` is what it gave back, as far as the index knows.
    """

    sender: bytes
    to: bytes
    value: int
    data: bytes
    gas_limit: int
    gas_used: int
    height: int
    revert_data: bytes


def failed_slot(connection: Connection, signer: str, nonce: int) -> FailedCall | None:
    """The call of an open nonce, if it failed in a final block."""
    values = {"signer": signer, "nonce": nonce}
    return _call(connection.execute(_OF_SLOT, values).first())


def failed_of_wallet(
    connection: Connection, command_id: uuid.UUID, final: int
) -> FailedCall | None:
    """The first call for a wallet's command, if it failed in a final block."""
    values = {"command": command_id, "final": final}
    return _call(connection.execute(_OF_WALLET, values).first())


def _call(row: Any) -> FailedCall | None:
    if row is None:
        return None
    return FailedCall(
        bytes(row.sender), bytes(row.recipient), int(row.value), bytes(row.data),
        row.gas_limit, row.gas_used, row.height, bytes(row.revert_data or b""),
    )  # fmt: skip
