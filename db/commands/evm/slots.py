"""Nonces as rows, each bound to a command in the transaction that takes it."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from db.commands.accept import CommandRow, as_row, lock, move
from db.commands.evm.closing import close
from db.commands.evm.tags import MARKER
from db.commands.signers import SignerRow, as_signer, lock_signer
from db.commands.states import FAR_NONCES, Closing, State
from db.control import attempt, command, signer, slot
from db.records import from_row

# Under the signer's lock: how many nonces are open, how far the sender's transactions
# are read without a gap, and whether there are transactions without a slot or nonces
# without either: what is waiting may be what was done there.
_FACTS = text(
    """
    SELECT control.sender_reach(g.source, g.address) AS reach,
        (SELECT count(*) FROM control.slot s WHERE s.signer = g.name AND s.open)
            AS in_flight,
        EXISTS (
            SELECT FROM (
                SELECT t.* FROM control.sender_transaction t
                WHERE t.source = g.source AND t.sender = g.address
                    AND t.nonce >= g.checked_nonce
                    AND NOT EXISTS (
                        SELECT FROM control.slot s
                        WHERE s.signer = g.name AND s.nonce = t.nonce
                    )
                OFFSET 0  -- few are left: only they are compared with what waits
            ) t
            WHERE t.nonce >= g.next_nonce
                OR right(encode(t.data, 'hex'), 32) = :marker
                OR EXISTS (
                    SELECT FROM control.command c
                    WHERE c.signer = g.name AND c.state = 'accepted'
                        AND c.data = t.data AND c.target = t.recipient
                        AND c.value = t.value AND c.seen_from < t.position >> 32
                )
        ) OR EXISTS (
            SELECT FROM control.slot s
            WHERE s.signer = g.name AND s.open AND s.command IS NULL
        ) OR g.next_nonce - g.checked_nonce > 1024
        OR coalesce(g.next_nonce > control.known_nonce(g.name) + :far, false)
        OR EXISTS (
            SELECT FROM generate_series(
                g.checked_nonce, least(g.next_nonce, g.checked_nonce + 1024) - 1) n
            WHERE NOT EXISTS (SELECT FROM control.slot s
                    WHERE s.signer = g.name AND s.nonce = n)
                AND NOT EXISTS (SELECT FROM control.sender_transaction t
                    WHERE t.source = g.source AND t.sender = g.address
                        AND t.nonce = n)
        ) AS unaccounted
    FROM control.signer g WHERE g.name = :name
    """
)
_NAME: BindParameter[str] = bindparam("name")
_NEXT_WAITING = (
    select(command)
    .where(command.c.signer == _NAME, command.c.state == State.ACCEPTED)
    .order_by(command.c.id)
    .limit(1)
)
_CHEAPEST_WAITING = (
    select(command)
    .where(command.c.signer == _NAME, command.c.state == State.ACCEPTED)
    .order_by(command.c.gas_limit, command.c.id)
    .limit(1)
)
_TAKE_WAITING = _NEXT_WAITING.with_for_update(skip_locked=True)
_LOCK_SLOT = (
    select(slot)
    .where(slot.c.signer == _NAME, slot.c.nonce == bindparam("of_nonce"))
    .with_for_update()
)
_CLAIM = (
    update(slot)
    .where(
        slot.c.signer == _NAME,
        slot.c.nonce == bindparam("of_nonce"),
        slot.c.open,
        slot.c.next_action_at <= bindparam("now"),
        ~exists(select(signer.c.name).where(signer.c.name == _NAME, signer.c.paused)),
    )
    .values(next_action_at=bindparam("until"))
    .returning(*slot.columns)
)

_ADVANCE = (
    update(signer)
    .where(signer.c.name == bindparam("of_name"))
    .values(next_nonce=bindparam("next"))
)
_INSERT_SLOT = (
    insert(slot)
    .values(
        {
            each: bindparam(each)
            for each in ("signer", "nonce", "command", "taken_at", "next_action_at")
        }
    )
    .returning(*slot.columns)
)


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A nonce that was taken; `command` None: a filler."""

    signer: str
    nonce: int
    command: uuid.UUID | None
    closing: Closing
    taken_at: datetime


def register_signer(
    connection: Connection,
    *,
    name: str,
    source_id: int,
    address: bytes,
    next_nonce: int,
    gate_height: int,
    max_in_flight: int = 64,
    floor: int = 0,
) -> SignerRow:
    """Make a signer known, or close its gate again at a start.

    `next_nonce` is what the node counts at its head, `gate_height`; nothing is signed
    until the index has passed that block, so that a database restored from a backup
    first learns what was done after it was taken. A nonce never moves backwards.

    `floor` is the nonce after all that were signed or handed to a node, as the signing
    side and the node remember. Those that the database does not know of are filled, and
    no command is given a nonce before it is known what became of them.
    """
    values = {
        "name": name, "source": source_id, "address": address,
        "first_nonce": next_nonce, "next_nonce": max(next_nonce, floor),
        "gate_height": gate_height, "max_in_flight": max_in_flight,
        "checked_nonce": next_nonce,
    }  # fmt: skip
    statement = insert(signer).values(values)
    row = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "gate_height": gate_height,
                "max_in_flight": max_in_flight,
                "next_nonce": func.greatest(signer.c.next_nonce, floor),
            },
            where=(signer.c.source == source_id) & (signer.c.address == address),
        ).returning(*signer.columns)
    ).first()
    if row is None:
        raise ValueError(
            f"signer {name!r} was another address or chain before: give the new key "
            "another name"
        )
    return as_signer(row)


def next_waiting(
    connection: Connection, name: str, *, locked: bool = False
) -> CommandRow | None:
    """The oldest command that waits for a nonce of a signer."""
    query = _TAKE_WAITING if locked else _NEXT_WAITING
    row = connection.execute(query, {"name": name}).first()
    return None if row is None else as_row(row)


def cheapest_waiting(connection: Connection, name: str) -> CommandRow | None:
    """The waiting command of a signer that needs the least gas."""
    row = connection.execute(_CHEAPEST_WAITING, {"name": name}).first()
    return None if row is None else as_row(row)


def take_slot(
    connection: Connection, name: str, now: datetime
) -> tuple[CommandRow, SlotRow] | None:
    """Bind the next nonce to the oldest waiting command; None when it may not be.

    Commands whose time is over are expired instead: they never were signed. While the
    signer is on hold one nonce at most is open, by which it learns that it may go on.
    """
    row = lock_signer(connection, name)
    if row.paused:
        return None
    asked = {"name": name, "marker": MARKER.hex(), "far": FAR_NONCES}
    facts = connection.execute(_FACTS, asked).one()
    # What the index has and no slot accounts for must be looked at first: it may be
    # the very command that would be taken now, done before a backup was restored.
    if facts.unaccounted or facts.reach is None or facts.reach < row.gate_height:
        return None
    if facts.in_flight >= (1 if row.hold else row.max_in_flight):
        return None
    while (waiting := next_waiting(connection, name, locked=True)) is not None:
        if waiting.valid_until is not None and waiting.valid_until <= now:
            move(connection, waiting, State.EXPIRED, now, reason="its time was over")
            continue
        nonce = row.next_nonce
        connection.execute(_ADVANCE, {"of_name": name, "next": nonce + 1})
        taken = insert_slot(connection, name, nonce, waiting.id, now)
        return move(connection, waiting, State.SLOTTED, now), taken
    return None


def claim_slot(
    connection: Connection, name: str, nonce: int, now: datetime, until: datetime
) -> SlotRow | None:
    """Claim a slot that is due: no other worker handles it before `until`.

    None: it is not due any more, or the signer was paused. The claim saves work and
    guards nothing: two workers with the same nonce do no harm.
    """
    values = {"name": name, "of_nonce": nonce, "now": now, "until": until}
    row = connection.execute(_CLAIM, values).first()
    return None if row is None else _slot(row)


def owner_of(connection: Connection, held: SlotRow, now: datetime) -> CommandRow | None:
    """The command of a locked slot, None for a filler; a late one begins to close."""
    if held.command is None:
        return None
    owner = lock(connection, held.command)
    late = owner.valid_until is not None and owner.valid_until <= now
    if late and owner.state in (State.SLOTTED, State.SIGNED):
        reason = "its time is over: the chain will show whether it was mined before"
        return close(connection, owner, now, Closing.DEADLINE, reason)
    return owner


def refuse_slot(
    connection: Connection, name: str, nonce: int, reason: str, now: datetime
) -> bool:
    """Use up a nonce whose call the signer refuses; its command will be held.

    Only while nothing was signed for it: signed bytes may be mined at any time.
    """
    locked = lock_slot(connection, name, nonce)
    signed = connection.execute(
        select(func.count()).where(attempt.c.signer == name, attempt.c.nonce == nonce)
    ).scalar_one()
    if not locked.open or locked.closing or locked.command is None or signed:
        return False
    owner = lock(connection, locked.command)
    close(connection, owner, now, Closing.REFUSED, reason)
    return True


def open_slots(connection: Connection, name: str) -> list[SlotRow]:
    """A signer's slots that are not resolved, lowest nonce first."""
    query = (
        select(slot).where(slot.c.signer == name, slot.c.open).order_by(slot.c.nonce)
    )
    return [_slot(row) for row in connection.execute(query)]


def insert_slot(
    connection: Connection,
    name: str,
    nonce: int,
    command_id: uuid.UUID | None,
    now: datetime,
) -> SlotRow:
    """A nonce as a row, bound to a command, or to none."""
    values = {
        "signer": name, "nonce": nonce, "command": command_id, "taken_at": now,
        "next_action_at": now,
    }  # fmt: skip
    return _slot(connection.execute(_INSERT_SLOT, values).one())


def lock_slot(connection: Connection, name: str, nonce: int) -> Any:
    """The row of a slot, locked until commit."""
    return connection.execute(_LOCK_SLOT, {"name": name, "of_nonce": nonce}).one()


def _slot(row: Any) -> SlotRow:
    return from_row(SlotRow, row, closing=Closing(row.closing))
