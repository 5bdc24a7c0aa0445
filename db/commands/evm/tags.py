"""Command ids appended to calldata, by which transactions are matched.

It rides in the manner of ERC-8021: 16 bytes of the id and a marker, which contracts do
not read. So the chain itself says which command a transaction was for, whoever kept
the database. A contract may be declared to take none; see `db.commands.evm.matching`.
"""

import uuid

MARKER = bytes.fromhex("c4a1f01d80218021c4a1f01d80218021")


def tag_of(command_id: uuid.UUID) -> bytes:
    """The bytes to put behind the calldata of a command."""
    return command_id.bytes + MARKER


def command_id_of(data: bytes) -> uuid.UUID | None:
    """Return the command id at the end of calldata; None without one."""
    if len(data) < 32 or data[-16:] != MARKER:
        return None
    return uuid.UUID(bytes=data[-32:-16])
