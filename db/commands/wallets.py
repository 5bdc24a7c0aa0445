"""Commands that a client's own wallet signs: its nonces are its own business.

The calldata ends with the command's id, so that the indexed chain says by itself which
transaction was for which command, whether we relayed it or the wallet sent it. Where a
contract takes no id, only what was relayed is known, by its nonce.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from db.commands.accept import CommandRow, lock, move
from db.commands.states import TERMINAL, State
from db.commands.tags import MARKER, command_id_of
from db.control import command, relay, sender_transaction
from db.errors import DatabaseError
from db.position import height_of

WATCHED_MOST = 10_000
RELAY = "relay"  # the kind of what was relayed and not asked for

# The first transaction of the index that was for a command. What has no id in its
# calldata must have been relayed: another call may look the same, at another nonce.
_FOUND = text(
    """
    SELECT t.hash, t.succeeded, t.position
    FROM control.command c
    JOIN control.sender_transaction t
        ON t.source = c.source AND t.sender = c.sender
        AND t.recipient = c.target AND t.data = c.data AND t.value = c.value
    WHERE c.id = :command AND (right(encode(c.data, 'hex'), 64)
        = encode(uuid_send(c.id), 'hex') || :marker OR t.nonce IN (
        SELECT r.nonce FROM control.relay r WHERE r.command = c.id))
    ORDER BY t.position
    LIMIT 1
    """
)


class SignedBefore(DatabaseError):
    """The wallet signed the same call with this nonce, for another command."""


class AlreadyEnded(DatabaseError):
    """The command has ended: there is nothing to relay for it."""


def watched(connection: Connection, source: int) -> dict[bytes, int]:
    """The wallets whose transactions are waited for, each with its first block."""
    query = (
        select(command.c.sender, func.min(command.c.seen_from))
        .where(
            command.c.source == source,
            command.c.sender.is_not(None),
            command.c.next_action_at.is_not(None),
        )
        .group_by(command.c.sender)
        .order_by(func.min(command.c.created_at), command.c.sender)
        .limit(WATCHED_MOST)
    )
    return {bytes(sender): first for sender, first in connection.execute(query)}


def store_relay(
    connection: Connection,
    command_id: uuid.UUID,
    *,
    raw: bytes,
    hash_: bytes,
    nonce: int,
    now: datetime,
) -> CommandRow:
    """Keep what a wallet signed, before it is sent; the same bytes are kept once.

    Raises AlreadyEnded, SignedBefore.
    """
    row = lock(connection, command_id)
    if row.state in TERMINAL:
        raise AlreadyEnded(
            f"command {row.id} is {row.state}: nothing is sent for it any more"
        )
    if (other := _signed_for(connection, row, nonce)) is not None:
        raise SignedBefore(
            f"nonce {nonce} is signed for command {other}, which is the same call: "
            "one transaction cannot do both. Sign it with another nonce"
        )
    connection.execute(
        insert(relay)
        .values(hash=hash_, command=row.id, nonce=nonce, raw=raw, relayed_at=now)
        .on_conflict_do_nothing()
    )
    if row.state is State.ACCEPTED:
        row = move(connection, row, State.SIGNED, now, transaction=hash_)
    return row


def note_relayed(
    connection: Connection, hash_: bytes, answer: str, now: datetime
) -> None:
    """Remember that bytes were handed on and what the node said; advice only."""
    connection.execute(
        update(relay)
        .where(relay.c.hash == hash_)
        .values(sent_count=relay.c.sent_count + 1, sent_at=now, answer=answer[:500])
    )


def unsettled(connection: Connection, source: int, now: datetime) -> list[uuid.UUID]:
    """The commands of wallets that may have something new, oldest first.

    That is those whose wallet did anything, whose time is over, or whose block may
    have been undone; most wait for a person, and nothing is asked about them.
    """
    something = (
        select(sender_transaction.c.position)
        .where(
            sender_transaction.c.source == command.c.source,
            sender_transaction.c.sender == command.c.sender,
        )
        .exists()
    )
    query = (
        select(command.c.id)
        .where(
            command.c.source == source,
            command.c.sender.is_not(None),
            command.c.next_action_at.is_not(None),
            or_(
                command.c.state == State.INCLUDED,
                command.c.valid_until <= now,
                something,
            ),
        )
        .order_by(command.c.id)
    )
    return list(connection.execute(query).scalars())


def to_relay_again(
    connection: Connection, source: int, before: datetime
) -> list[tuple[bytes, bytes]]:
    """Hash and bytes of what was last sent before then and is not in the index."""
    seen = (
        select(sender_transaction.c.hash)
        .where(sender_transaction.c.hash == relay.c.hash)
        .exists()
    )
    query = (
        select(relay.c.hash, relay.c.raw)
        .join(command, command.c.id == relay.c.command)
        .where(
            command.c.source == source,
            command.c.state == State.SIGNED,
            or_(relay.c.sent_at.is_(None), relay.c.sent_at < before),
            ~seen,
        )
        .order_by(relay.c.relayed_at)
        .limit(100)
    )
    return [(bytes(hash_), bytes(raw)) for hash_, raw in connection.execute(query)]


def settle_wallet_command(
    connection: Connection, command_id: uuid.UUID, *, final: int, now: datetime
) -> CommandRow:
    """Bring a wallet's command up to date with the index; may be called at any time.

    `final` is the last final block.
    """
    row = lock(connection, command_id)
    if row.state in TERMINAL:
        return row
    found = connection.execute(
        _FOUND, {"command": row.id, "marker": MARKER.hex()}
    ).first()
    if found is None:
        return _not_found(connection, row, final, now)
    height = height_of(found.position)
    hash_ = bytes(found.hash)
    if height > final:
        if row.state is State.INCLUDED:
            return row
        return move(
            connection, row, State.INCLUDED, now, transaction=hash_, height=height
        )
    end = State.SUCCEEDED if found.succeeded else State.REVERTED
    return move(connection, row, end, now, transaction=hash_, height=height)


def _not_found(
    connection: Connection, row: CommandRow, final: int, now: datetime
) -> CommandRow:
    if row.state is State.INCLUDED:
        reason = "its block was undone"
        return move(connection, row, _waiting(connection, row), now, reason=reason)
    if row.state is State.SIGNED and _all_lost(connection, row, final):
        reason = "the wallet used its nonce for something else: sign it again"
        return move(connection, row, State.ACCEPTED, now, reason=reason)
    late = row.valid_until is not None and row.valid_until <= now
    if late and row.state is State.ACCEPTED:
        reason = "the wallet did not sign it in time"
        return move(connection, row, State.EXPIRED, now, reason=reason)
    return row


def _waiting(connection: Connection, row: CommandRow) -> State:
    """Where a command waits whose block was undone: for its bytes, or a wallet."""
    kept = select(relay.c.hash).where(relay.c.command == row.id).limit(1)
    known = connection.execute(kept).first() is not None
    return State.SIGNED if known else State.ACCEPTED


def _all_lost(connection: Connection, row: CommandRow, final: int) -> bool:
    """Whether others used, in final blocks, all nonces signed for the command."""
    nonces: list[Any] = list(
        connection.execute(
            select(relay.c.nonce).where(relay.c.command == row.id)
        ).scalars()
    )
    used = set(
        connection.execute(
            select(sender_transaction.c.nonce).where(
                sender_transaction.c.source == row.source,
                sender_transaction.c.sender == row.sender,
                sender_transaction.c.nonce.in_(nonces),
                sender_transaction.c.position < (final + 1) << 32,
            )
        ).scalars()
    )
    return bool(nonces) and used >= set(nonces)


def _signed_for(
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
