"""T6 and T7: what the indexed chain shows decides, and only in final blocks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text, update

from db.commands.accept import CommandRow, lock, move
from db.commands.states import Closing, State
from db.control import attempt, slot

# The transaction that consumed each open nonce, as far as blocks were read without a
# gap from the sender's first block on.
_CONSUMED = text(
    """
    SELECT s.nonce, t.hash, t.succeeded, t.position >> 32 AS height,
        (t.position >> 32) <= src.final AS final
    FROM control.slot s
    JOIN control.signer g ON g.name = s.signer
    JOIN control.source src ON src.id = g.source
    JOIN control.sender_transaction t
        ON t.source = g.source AND t.sender = g.address AND t.nonce = s.nonce
    WHERE s.signer = :signer AND s.open
    ORDER BY s.nonce
    """
)


@dataclass(frozen=True, slots=True)
class Consumed:
    """The transaction in the index that used a nonce."""

    nonce: int
    hash: bytes
    succeeded: bool
    height: int
    final: bool


def consumed(connection: Connection, signer: str) -> dict[int, Consumed]:
    """The indexed transactions that used a signer's open nonces."""
    return {
        row.nonce: Consumed(
            row.nonce, bytes(row.hash), row.succeeded, row.height, row.final
        )
        for row in connection.execute(_CONSUMED, {"signer": signer})
    }


def settle_slot(
    connection: Connection, signer: str, nonce: int, now: datetime
) -> str | None:
    """Bring one slot and its command up to date with the index; its resolution, if any.

    Everything is read again under the slot's lock, so it may be called at any time.
    """
    query = (
        select(slot)
        .where(slot.c.signer == signer, slot.c.nonce == nonce)
        .with_for_update()
    )
    locked = connection.execute(query).one()
    if not locked.open:
        return str(locked.resolution)
    found = consumed(connection, signer).get(nonce)
    owner = None if locked.command is None else lock(connection, locked.command)
    if found is None:
        if owner is not None and owner.state is State.INCLUDED:
            back = State.CLOSING if locked.closing else State.SIGNED
            move(connection, owner, back, now, reason="its block was undone")
        return None
    ours = connection.execute(
        select(attempt.c.purpose).where(
            attempt.c.signer == signer,
            attempt.c.nonce == nonce,
            attempt.c.hash == found.hash,
        )
    ).scalar()
    if not found.final:
        _show_inclusion(connection, owner, found, ours, now)
        return None
    resolution = _resolution(ours, found)
    connection.execute(
        update(slot)
        .where(slot.c.signer == signer, slot.c.nonce == nonce)
        .values(open=False, resolution=resolution)
    )
    if owner is not None:
        _finish(connection, owner, locked, found, resolution, now)
    return resolution


def _show_inclusion(
    connection: Connection,
    owner: CommandRow | None,
    found: Consumed,
    ours: str | None,
    now: datetime,
) -> None:
    if owner is None or ours != "call" or owner.state is State.INCLUDED:
        return
    move(
        connection, owner, State.INCLUDED, now,
        transaction=found.hash, height=found.height,
    )  # fmt: skip


def _resolution(ours: str | None, found: Consumed) -> str:
    if ours is None:
        return "lost"
    if ours == "call":
        return "succeeded" if found.succeeded else "reverted"
    return "cancelled" if ours == "cancel" else "filled"


def _closed(locked: Any) -> State:
    late = locked.closing == Closing.DEADLINE
    return State.EXPIRED if late else State.CANCELLED


def _finish(
    connection: Connection,
    owner: CommandRow,
    locked: Any,
    found: Consumed,
    resolution: str,
    now: datetime,
) -> None:
    if resolution == "lost":
        if locked.closing:
            reason = "its nonce was used by another wallet"
            move(connection, owner, _closed(locked), now, reason=reason)
        else:
            reason = "its nonce was used by another wallet: it gets another"
            move(connection, owner, State.ACCEPTED, now, reason=reason)
        return
    ends = {
        "succeeded": State.SUCCEEDED,
        "reverted": State.REVERTED,
        "cancelled": _closed(locked),
    }
    reason = "it was mined before its cancel" if (
        locked.closing and resolution in ("succeeded", "reverted")
    ) else ""  # fmt: skip
    move(
        connection, owner, ends[resolution], now,
        reason=reason, transaction=found.hash, height=found.height,
    )  # fmt: skip
