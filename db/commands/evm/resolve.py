"""Settle slots by the indexed chain: only final blocks decide."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, update

from db.commands.accept import CommandRow, lock, move
from db.commands.evm.matching import command_for
from db.commands.evm.reconcile import alarm, unknown_tag
from db.commands.evm.slots import lock_slot
from db.commands.evm.tags import command_id_of
from db.commands.states import Closing, State
from db.control import attempt, slot

log = logging.getLogger(__name__)

# The transaction that consumed each open nonce, as far as blocks were read.
_CONSUMED = text(
    """
    SELECT s.nonce, t.hash, t.succeeded, t.position >> 32 AS height,
        (t.position >> 32) <= src.final AS final,
        t.recipient, t.value, t.data, g.address
    FROM control.slot s
    JOIN control.signer g ON g.name = s.signer
    JOIN control.source src ON src.id = g.source
    JOIN control.sender_transaction t
        ON t.source = g.source AND t.sender = g.address AND t.nonce = s.nonce
    WHERE s.signer = :signer AND s.nonce = :nonce AND s.open
    """
)
_HASHES = select(attempt.c.purpose, attempt.c.hash, attempt.c.node_hash).where(
    attempt.c.signer == bindparam("name"), attempt.c.nonce == bindparam("of_nonce")
)

_RESOLVE = (
    update(slot)
    .where(slot.c.signer == bindparam("name"), slot.c.nonce == bindparam("of_nonce"))
    .values(
        open=False, resolution=bindparam("end"), hash=bindparam("by_hash"),
        height=bindparam("at_height"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Consumed:
    """The transaction in the index that used a nonce."""

    nonce: int
    hash: bytes
    succeeded: bool
    height: int
    final: bool
    recipient: bytes | None
    value: int
    data: bytes
    to_itself: bool


def consumed(connection: Connection, signer: str, nonce: int) -> Consumed | None:
    """The indexed transaction that used an open nonce of a signer, if there is one."""
    row = connection.execute(_CONSUMED, {"signer": signer, "nonce": nonce}).first()
    if row is None:
        return None
    recipient = None if row.recipient is None else bytes(row.recipient)
    return Consumed(
        row.nonce, bytes(row.hash), row.succeeded, row.height, row.final, recipient,
        int(row.value), bytes(row.data), recipient == bytes(row.address),
    )  # fmt: skip


def settle_slot(
    connection: Connection, signer: str, nonce: int, now: datetime, *, why: str = ""
) -> str | None:
    """Bring one slot and its command up to date with the index; its resolution, if any.

    `why` is the reason to tell of a call that reverted.
    Everything is read again under the slot's lock, so it may be called at any time.
    """
    locked = lock_slot(connection, signer, nonce)
    if not locked.open:
        return str(locked.resolution)
    found = consumed(connection, signer, nonce)
    owner = None if locked.command is None else lock(connection, locked.command)
    if found is None:
        if owner is not None and owner.state is State.INCLUDED:
            back = State.CLOSING if locked.closing else State.SIGNED
            move(connection, owner, back, now, reason="its block was undone")
        return None
    owner = owner or _adopt(connection, signer, found, now)
    ours = _ours(connection, signer, found, owner)
    if not found.final:
        _show_inclusion(connection, owner, found, ours, now)
        return None
    resolution = _resolution(ours, found)
    connection.execute(
        _RESOLVE,
        {
            "name": signer, "of_nonce": nonce, "end": resolution,
            "by_hash": found.hash, "at_height": found.height,
        },
    )  # fmt: skip
    if ours is None:
        _examine(connection, signer, found)
    if owner is not None:
        _finish(connection, owner, locked, found, resolution, now, why)
    return resolution


def _ours(
    connection: Connection, signer: str, found: Consumed, owner: CommandRow | None
) -> str | None:
    """Return the purpose of the attempt that a transaction is; None: not one of ours.

    By its nonce it is found, by its hash recognised; where a node gives transactions
    hashes that their bytes do not have, by the hash it answered, and failing that by
    what the transaction does. A call with its command's id can be no other; one without
    did at this nonce what was to be done there, and must not be done again.
    """
    rows = connection.execute(_HASHES, {"name": signer, "of_nonce": found.nonce}).all()
    for row in rows:
        hashes = (bytes(row.hash), row.node_hash and bytes(row.node_hash))
        if found.hash in hashes:
            return str(row.purpose)
    if owner is not None and (
        (found.recipient, found.value, found.data)
        == (owner.target, owner.value, owner.data)
    ):
        return "call"
    empty = found.to_itself and not found.value and not found.data
    fillers = [str(row.purpose) for row in rows if row.purpose != "call"]
    return fillers[-1] if empty and fillers else None


def _adopt(
    connection: Connection, signer: str, found: Consumed, now: datetime
) -> CommandRow | None:
    """Give a filler's nonce to the waiting command whose transaction used it.

    It was sent before the database lost its memory of it, and outran the filler.
    """
    known = command_for(connection, signer, found)
    if known is None:
        return None
    waiting = lock(connection, known.id)
    if waiting.state is State.HELD:
        waiting = move(connection, waiting, State.ACCEPTED, now)
    if waiting.state is not State.ACCEPTED:
        return None
    connection.execute(
        update(slot)
        .where(slot.c.signer == signer, slot.c.nonce == found.nonce)
        .values(command=waiting.id)
    )
    reason = f"the chain shows it at nonce {found.nonce}"
    return move(connection, waiting, State.SLOTTED, now, reason=reason)


def _examine(connection: Connection, signer: str, found: Consumed) -> None:
    """Halt the signer if another command's transaction used the nonce."""
    tag, known = command_id_of(found.data), command_for(connection, signer, found)
    if known is not None:
        alarm(
            connection, signer,
            f"nonce {found.nonce} executed command {known.id}, which has another: "
            "check its history for a double execution, then run "
            f"`chainfold sign resume {signer}`",
        )  # fmt: skip
    elif tag is not None:
        alarm(connection, signer, unknown_tag(signer, found.nonce, tag))
    else:
        log.error("key_already_used signer=%s nonce=%s", signer, found.nonce)


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


# What is told of a command whose nonce the chain shows to be used by nothing.
_ENDED = {
    Closing.CANCEL: "cancelled by request",
    Closing.DEADLINE: "its time was over before it was mined",
}


def _closed(locked: Any) -> State:
    """Return the state of a command whose nonce a transaction of nothing used up."""
    return {
        Closing.DEADLINE: State.EXPIRED,
        Closing.REFUSED: State.HELD,
    }.get(Closing(locked.closing), State.CANCELLED)


def _finish(
    connection: Connection,
    owner: CommandRow,
    locked: Any,
    found: Consumed,
    resolution: str,
    now: datetime,
    why: str = "",
) -> None:
    if resolution in ("lost", "filled", "cancelled"):
        new = _closed(locked) if locked.closing else State.ACCEPTED
        reason = _ENDED.get(Closing(locked.closing), owner.reason)
        if resolution != "cancelled" and new is not State.HELD:
            reason = "its nonce was used for something else"
            reason += "" if locked.closing else ": it gets another"
        ended = {} if new in (State.ACCEPTED, State.HELD) else {
            "transaction": found.hash, "height": found.height,
        }  # fmt: skip
        move(connection, owner, new, now, reason=reason, **ended)
        return
    reasons = ["it was mined before its cancel"] if locked.closing else []
    reasons += [why] if why and resolution == "reverted" else []
    move(
        connection, owner, State(resolution), now,
        reason="; ".join(reasons), transaction=found.hash, height=found.height,
    )  # fmt: skip
