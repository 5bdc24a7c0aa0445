"""T2 and T8: nonces as rows, and no gap between them."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from db.commands.accept import CommandRow, as_row, close, lock, move
from db.commands.states import Closing, State
from db.control import command, sender_transaction, signer, slot, source
from db.position import BlockRange


@dataclass(frozen=True, slots=True)
class SignerRow:
    """A key by name, on one chain; never the key itself."""

    name: str
    source: int
    address: bytes
    first_nonce: int
    next_nonce: int
    gate_height: int
    paused: bool
    reason: str
    max_in_flight: int


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
) -> SignerRow:
    """Make a signer known, or close its gate again at a start.

    `next_nonce` is what the node counts at its head, `gate_height`; nothing is signed
    until the index has passed that block, so that a database restored from a backup
    first learns what was done after it was taken. A nonce never moves backwards.
    """
    values = {
        "name": name, "source": source_id, "address": address,
        "first_nonce": next_nonce, "next_nonce": next_nonce, "gate_height": gate_height,
        "max_in_flight": max_in_flight,
    }  # fmt: skip
    statement = insert(signer).values(values)
    row = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "gate_height": gate_height,
                "max_in_flight": max_in_flight,
            },
            where=(signer.c.source == source_id) & (signer.c.address == address),
        ).returning(*signer.columns)
    ).first()
    if row is None:
        raise ValueError(
            f"signer {name!r} was another address or chain before: give the new key "
            "another name"
        )
    return _signer(row)


def find_signer(connection: Connection, name: str) -> SignerRow | None:
    """The signer with a name."""
    row = connection.execute(select(signer).where(signer.c.name == name)).first()
    return None if row is None else _signer(row)


def pause(connection: Connection, name: str, *, paused: bool, reason: str = "") -> None:
    """Stop a signer from taking nonces, or let it go on."""
    connection.execute(
        update(signer).where(signer.c.name == name).values(paused=paused, reason=reason)
    )


def take_slot(
    connection: Connection, name: str, now: datetime
) -> tuple[CommandRow, SlotRow] | None:
    """T2: bind the next nonce to the oldest waiting command; None when it may not be.

    Commands whose time is over are expired instead: they never were signed.
    """
    locked = _signer(
        connection.execute(
            select(signer).where(signer.c.name == name).with_for_update()
        ).one()
    )
    if locked.paused or not _gate_open(connection, locked):
        return None
    in_flight = connection.execute(
        select(func.count()).where(slot.c.signer == name, slot.c.open)
    ).scalar_one()
    if in_flight >= locked.max_in_flight:
        return None
    while (waiting := _next_waiting(connection, name)) is not None:
        if waiting.valid_until is not None and waiting.valid_until <= now:
            move(connection, waiting, State.EXPIRED, now, reason="its time was over")
            continue
        nonce = locked.next_nonce
        connection.execute(
            update(signer).where(signer.c.name == name).values(next_nonce=nonce + 1)
        )
        row = _insert_slot(connection, name, nonce, waiting.id, now)
        return move(connection, waiting, State.SLOTTED, now), row
    return None


def fill_gaps(connection: Connection, name: str, now: datetime) -> list[SlotRow]:
    """T8: never reuse a nonce that the chain has seen, and leave none unused behind.

    The floor is what the index has seen of the signer. A nonce below it that no slot
    holds and no indexed transaction consumed is filled: it would block all later ones.
    """
    locked = _signer(
        connection.execute(
            select(signer).where(signer.c.name == name).with_for_update()
        ).one()
    )
    reach = _reach(connection, locked)
    if reach is None:
        return []
    floor = _after_last(connection, locked, reach)
    if floor > locked.next_nonce:
        connection.execute(
            update(signer).where(signer.c.name == name).values(next_nonce=floor)
        )
    final = connection.execute(
        select(source.c.final).where(source.c.id == locked.source)
    ).scalar_one()
    settled = _after_last(connection, locked, min(final, reach))
    missing = connection.execute(
        text(
            "SELECT n FROM generate_series(cast(:low AS bigint), :high - 1) n"
            " WHERE NOT EXISTS (SELECT FROM control.slot s"
            "   WHERE s.signer = :name AND s.nonce = n)"
            " AND NOT EXISTS (SELECT FROM control.sender_transaction t"
            "   WHERE t.source = :source AND t.sender = :address AND t.nonce = n)"
            " ORDER BY n LIMIT 64"
        ),
        {
            "low": settled,
            "high": max(floor, locked.next_nonce),
            "name": name,
            "source": locked.source,
            "address": locked.address,
        },
    ).scalars()
    return [_insert_slot(connection, name, nonce, None, now) for nonce in missing]


def owner_of(connection: Connection, held: SlotRow, now: datetime) -> CommandRow | None:
    """A slot's command, None for a filler; one whose time is over begins to close."""
    if held.command is None:
        return None
    connection.execute(
        select(slot.c.nonce)
        .where(slot.c.signer == held.signer, slot.c.nonce == held.nonce)
        .with_for_update()
    )
    owner = lock(connection, held.command)
    late = owner.valid_until is not None and owner.valid_until <= now
    if late and owner.state in (State.SLOTTED, State.SIGNED):
        reason = "its time was over before it was mined"
        return close(connection, owner, now, Closing.DEADLINE, reason)
    return owner


def open_slots(connection: Connection, name: str) -> list[SlotRow]:
    """A signer's slots that are not resolved, lowest nonce first."""
    query = (
        select(slot).where(slot.c.signer == name, slot.c.open).order_by(slot.c.nonce)
    )
    return [_slot(row) for row in connection.execute(query)]


def _gate_open(connection: Connection, locked: SignerRow) -> bool:
    """Whether every block up to the gate was read for this sender's transactions."""
    reach = _reach(connection, locked)
    return reach is not None and reach >= locked.gate_height


def _after_last(connection: Connection, locked: SignerRow, height: int) -> int:
    """The nonce after the last that the chain consumed up to a height."""
    if height < 0:
        return locked.first_nonce
    seen = connection.execute(
        select(func.max(sender_transaction.c.nonce)).where(
            sender_transaction.c.source == locked.source,
            sender_transaction.c.sender == locked.address,
            sender_transaction.c.position <= BlockRange(0, height).highest,
        )
    ).scalar()
    return locked.first_nonce if seen is None else int(seen) + 1


def _reach(connection: Connection, locked: SignerRow) -> int | None:
    """The last block up to which the sender's transactions are read without a gap."""
    return connection.execute(
        text(
            "SELECT upper((SELECT r FROM unnest(c.blocks) r ORDER BY r LIMIT 1)) - 1"
            " FROM control.coverage c WHERE c.source = :source"
            " AND c.event = 'chain.transactions' AND c.filter = :sender"
        ),
        {"source": locked.source, "sender": "0x" + locked.address.hex()},
    ).scalar()


def _next_waiting(connection: Connection, name: str) -> CommandRow | None:
    query = (
        select(command)
        .where(command.c.signer == name, command.c.state == State.ACCEPTED)
        .order_by(command.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).first()
    return None if row is None else as_row(row)


def _insert_slot(
    connection: Connection,
    name: str,
    nonce: int,
    command_id: uuid.UUID | None,
    now: datetime,
) -> SlotRow:
    row = connection.execute(
        insert(slot)
        .values(signer=name, nonce=nonce, command=command_id, taken_at=now)
        .returning(*slot.columns)
    ).one()
    return _slot(row)


def _signer(row: Any) -> SignerRow:
    return SignerRow(
        row.name, row.source, bytes(row.address), row.first_nonce, row.next_nonce,
        row.gate_height,
        row.paused, row.reason, row.max_in_flight,
    )  # fmt: skip


def _slot(row: Any) -> SlotRow:
    return SlotRow(
        row.signer, row.nonce, row.command, Closing(row.closing), row.taken_at
    )
