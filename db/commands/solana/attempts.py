"""Signed transactions of commands: stored before they leave, sent until they are past.

A command has at most one attempt that is open. It is dead, and another may be signed,
once no node and no block can have it any more (`resolve`).
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.commands.accept import CommandRow, as_row, lock, move
from db.commands.solana.memory import GivenSignature
from db.commands.states import State
from db.control import command, signer
from db.control import solana_attempt as attempt
from db.records import from_row

# Those a pass looks at: a waiting command of the signer, the oldest first.
_WAITING = (
    select(command)
    .where(
        command.c.signer == bindparam("name"),
        command.c.state == State.ACCEPTED,
        command.c.next_action_at <= bindparam("now"),
    )
    .order_by(command.c.id)
    .limit(bindparam("most"))
)
# Whoever sets the time forward has the command for itself until then.
_CLAIM = text(
    """
    UPDATE control.command SET next_action_at = :until
    WHERE id = :id AND state = 'accepted' AND next_action_at <= :now
        AND NOT EXISTS (SELECT FROM control.signer g
            WHERE g.name = control.command.signer AND g.paused)
    RETURNING id
    """
)
_NOTE = text(
    """
    WITH a AS (
        UPDATE control.solana_attempt SET sent_count = sent_count + 1, sent_at = :now,
            answer = :answer, next_action_at = :again
        WHERE signature = :signature AND state = 'open' RETURNING command
    )
    UPDATE control.command c SET next_action_at = :again
    FROM a WHERE c.id = a.command AND c.next_action_at IS NOT NULL
    """
)


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """A signed transaction for a command; its fee is in lamports."""

    signature: bytes
    command: uuid.UUID
    number: int
    raw: bytes
    slot: int
    last_valid: int
    sent_count: int
    signed_at: datetime
    past_slot: int | None


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """The bytes of a transaction that was signed, and when it can land."""

    raw: bytes
    signature: GivenSignature
    fee: int


def waiting(
    connection: Connection, name: str, now: datetime, most: int
) -> list[CommandRow]:
    """The commands of a signer that wait to be signed, the oldest first."""
    rows = connection.execute(_WAITING, {"name": name, "now": now, "most": most})
    return [as_row(row) for row in rows]


def claim(
    connection: Connection, command_id: uuid.UUID, now: datetime, until: datetime
) -> bool:
    """Have nobody else sign a waiting command before a time; whether it still waits.

    The claim saves work and guards nothing: two workers with one command do no harm.
    """
    found = connection.execute(
        _CLAIM, {"id": command_id, "now": now, "until": until}
    ).first()
    return found is not None


def in_flight(connection: Connection, name: str) -> int:
    """The number of a signer's attempts that may still land."""
    query = select(func.count()).where(
        attempt.c.signer == name, attempt.c.state == "open"
    )
    return int(connection.execute(query).scalar_one())


def any_waits(connection: Connection, name: str) -> bool:
    """Whether a command of a signer waits to be signed, now or later."""
    query = select(command.c.id).where(
        command.c.signer == name, command.c.state == State.ACCEPTED
    )
    return connection.execute(query.limit(1)).first() is not None


def record_attempt(
    connection: Connection,
    command_id: uuid.UUID,
    made: SignedTransaction,
    now: datetime,
) -> AttemptRow | None:
    """Store signed bytes, if the command waits for them; None: it does not.

    They must not be sent then. It does not wait when it has an attempt that is open,
    unless that is of this very signature: another worker recalled it meanwhile.
    """
    owner = lock(connection, command_id)
    if owner.state not in (State.ACCEPTED, State.SIGNED):
        return None
    before = attempts_of(connection, command_id)
    standing = [each for each in before if each.state != "dead"]
    if [bytes(each.signature) for each in standing] == [made.signature.signature]:
        return _complete(connection, made)
    if standing:
        return None
    row = insert_attempt(connection, owner, len(before) + 1, made, now)
    if owner.state is State.ACCEPTED:
        signature = made.signature.signature
        move(connection, owner, State.SIGNED, now, transaction=signature)
    else:
        connection.execute(
            update(command)
            .where(command.c.id == command_id)
            .values(transaction=made.signature.signature, next_action_at=now)
        )
    return row


def _complete(connection: Connection, made: SignedTransaction) -> AttemptRow | None:
    """Give an open attempt that was recalled its bytes."""
    row = connection.execute(
        update(attempt)
        .where(
            attempt.c.signature == made.signature.signature,
            attempt.c.state == "open",
            attempt.c.raw == b"",
        )
        .values(raw=made.raw, fee=made.fee)
        .returning(*attempt.columns)
    ).first()
    return None if row is None else as_attempt(row)


def recall_attempts(
    connection: Connection,
    command_id: uuid.UUID,
    found: Sequence[GivenSignature],
    now: datetime,
) -> None:
    """Store what only the signer's memory knows: it may have landed, or yet land.

    So it is when a process dies between signing and storing, and after a backup was
    restored. Without its bytes it is not sent again.
    """
    owner = lock(connection, command_id)
    before = attempts_of(connection, command_id)
    known = {bytes(each.signature) for each in before}
    new = [each for each in found if each.signature not in known]
    if owner.state not in (State.ACCEPTED, State.SIGNED) or not new:
        return
    for number, each in enumerate(new, len(before) + 1):
        insert_attempt(connection, owner, number, SignedTransaction(b"", each, 0), now)
    if owner.state is State.ACCEPTED:
        reason = "it was signed before, and the bytes were lost: waiting for its end"
        move(connection, owner, State.SIGNED, now, reason=reason)


def note_answer(
    connection: Connection,
    signature: bytes,
    answer: str,
    now: datetime,
    *,
    again_at: datetime,
) -> None:
    """Remember that bytes were sent and what the node said; advice, nothing more."""
    connection.execute(
        _NOTE,
        {
            "signature": signature, "answer": answer[:500], "now": now,
            "again": again_at,
        },
    )  # fmt: skip


def attempts_of(connection: Connection, command_id: uuid.UUID) -> list[Any]:
    """The rows of a command's attempts, in order."""
    query = (
        select(attempt)
        .where(attempt.c.command == command_id)
        .order_by(attempt.c.number)
    )
    return list(connection.execute(query))


def settled(connection: Connection, command_id: uuid.UUID) -> frozenset[bytes]:
    """The signatures of a command that can have no effect any more."""
    return frozenset(
        bytes(row.signature)
        for row in attempts_of(connection, command_id)
        if row.state == "dead"
    )


def intent_of(connection: Connection, command_id: uuid.UUID) -> tuple[str, str]:
    """The tenant and the idempotency key by which a command was asked for."""
    query = select(command.c.tenant, command.c.idempotency_key)
    row = connection.execute(query.where(command.c.id == command_id)).one()
    return row.tenant, row.idempotency_key


def register_signer(
    connection: Connection,
    *,
    name: str,
    source_id: int,
    address: bytes,
    max_in_flight: int,
) -> None:
    """Make a signer known; raises ValueError when it was another key or chain before.

    It has no nonces: what the row says of them stays 0.
    """
    statement = upsert(signer).values(
        name=name, source=source_id, address=address, first_nonce=0, next_nonce=0,
        gate_height=0, max_in_flight=max_in_flight,
    )  # fmt: skip
    row = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"max_in_flight": max_in_flight},
            where=(signer.c.source == source_id) & (signer.c.address == address),
        ).returning(signer.c.name)
    ).first()
    if row is None:
        raise ValueError(
            f"signer {name!r} was another address or chain before: give the new key "
            "another name"
        )


def insert_attempt(
    connection: Connection,
    owner: CommandRow,
    number: int,
    made: SignedTransaction,
    now: datetime,
) -> AttemptRow:
    """Store a transaction as the attempt of that number; the command is locked."""
    row = connection.execute(
        insert(attempt)
        .values(
            signature=made.signature.signature, command=owner.id, signer=owner.signer,
            number=number, raw=made.raw, slot=made.signature.slot,
            last_valid=made.signature.last_valid, fee=made.fee, signed_at=now,
            next_action_at=now,
        )
        .returning(*attempt.columns)
    ).one()  # fmt: skip
    return as_attempt(row)


def as_attempt(row: Any) -> AttemptRow:
    """An attempt from a row of its table."""
    return from_row(AttemptRow, row)
