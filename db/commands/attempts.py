"""T3 and T5: signed bytes are stored before they leave."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.commands.accept import lock, move
from db.commands.states import State
from db.control import attempt, slot


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One signed transaction for a slot; the price in wei per unit of gas."""

    signer: str
    nonce: int
    number: int
    purpose: str
    raw: bytes
    hash: bytes
    gas_price: int
    sent_count: int
    sent_at: datetime | None
    signed_at: datetime


def record_attempt(
    connection: Connection,
    *,
    signer: str,
    nonce: int,
    purpose: str,
    raw: bytes,
    hash_: bytes,
    gas_price: int,
    now: datetime,
) -> AttemptRow | None:
    """Store signed bytes if the slot is still open; None: it is not, forget them."""
    query = (
        select(slot)
        .where(slot.c.signer == signer, slot.c.nonce == nonce)
        .with_for_update()
    )
    locked = connection.execute(query).one()
    if not locked.open:
        return None
    number = connection.execute(
        select(func.coalesce(func.max(attempt.c.number), 0) + 1).where(
            attempt.c.signer == signer, attempt.c.nonce == nonce
        )
    ).scalar_one()
    connection.execute(
        insert(attempt)
        .values(
            signer=signer, nonce=nonce, number=number, purpose=purpose, raw=raw,
            hash=hash_, gas_price=gas_price, signed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["hash"])
    )  # fmt: skip
    # Another worker may have signed the very same bytes.
    row = connection.execute(select(attempt).where(attempt.c.hash == hash_)).one()
    if locked.command is not None:
        owner = lock(connection, locked.command)
        if owner.state is State.SLOTTED:
            move(connection, owner, State.SIGNED, now, transaction=hash_)
    return _attempt(row)


def note_answer(
    connection: Connection, sent: AttemptRow, answer: str, now: datetime
) -> None:
    """Remember that bytes were sent and what the node said; advice, nothing more."""
    connection.execute(
        update(attempt)
        .where(attempt.c.hash == sent.hash)
        .values(sent_count=attempt.c.sent_count + 1, sent_at=now, answer=answer[:500])
    )


def attempts_of(connection: Connection, signer: str, nonce: int) -> list[AttemptRow]:
    """The attempts of a slot, in order."""
    query = (
        select(attempt)
        .where(attempt.c.signer == signer, attempt.c.nonce == nonce)
        .order_by(attempt.c.number)
    )
    return [_attempt(row) for row in connection.execute(query)]


def _attempt(row: Any) -> AttemptRow:
    return AttemptRow(
        row.signer, row.nonce, row.number, row.purpose, bytes(row.raw),
        bytes(row.hash), int(row.gas_price), row.sent_count, row.sent_at,
        row.signed_at,
    )  # fmt: skip
