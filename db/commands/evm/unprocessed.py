"""Final transactions of wallets that were not compared with their commands yet."""

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, text, update

from db.commands.evm.tags import MARKER, command_id_of
from db.control import command, sender_transaction
from db.position import BlockRange

TRANSACTIONS_MOST = 1_000  # of one query

# The predicate is that of an index, which has next to nothing in it.
_UNPROCESSED = text(
    f"""
    SELECT position, substring(data FROM octet_length(data) - 31) AS tag
    FROM control.sender_transaction
    WHERE source = :source AND position <= :highest AND NOT processed
        AND right(encode(data, 'hex'), 32) = '{MARKER.hex()}'
    ORDER BY position LIMIT :most
    """  # noqa: S608
)
_OF_WALLETS = select(command.c.id).where(
    command.c.id.in_(bindparam("ids", expanding=True)), command.c.sender.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Unprocessed:
    """Final transactions that carry a command's id, by position.

    `others` carry the id of no wallet's command: nothing follows from them.
    """

    commands: list[tuple[int, uuid.UUID]]
    others: list[int]


def unprocessed(connection: Connection, source: int, final: int) -> Unprocessed:
    """Return the transactions up to the last final block that carry a command's id."""
    rows = connection.execute(
        _UNPROCESSED,
        {
            "source": source,
            "highest": BlockRange(0, max(final, 0)).highest if final >= 0 else -1,
            "most": TRANSACTIONS_MOST,
        },
    ).all()
    tags = {row.position: command_id_of(bytes(row.tag)) for row in rows}
    ids = [tag for tag in tags.values() if tag is not None]
    known = set(connection.execute(_OF_WALLETS, {"ids": ids}).scalars()) if ids else ()
    return Unprocessed(
        [(at, tag) for at, tag in tags.items() if tag is not None and tag in known],
        [at for at, tag in tags.items() if tag not in known],
    )


def mark_processed(connection: Connection, source: int, positions: list[int]) -> None:
    """Record that these transactions were compared with their commands."""
    connection.execute(
        update(sender_transaction)
        .where(
            sender_transaction.c.source == source,
            sender_transaction.c.position.in_(positions),
        )
        .values(processed=True)
    )
