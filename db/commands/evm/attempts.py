"""Store signed bytes before they are sent."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from db.commands.accept import lock, move
from db.commands.evm.slots import lock_slot
from db.commands.states import State
from db.control import attempt, command
from db.records import from_row

# The command says when its slot is looked at again, for whoever waits for it.
_NOTE = text(
    """
    WITH a AS (
        UPDATE control.attempt SET sent_count = sent_count + 1, sent_at = :now,
            answer = :answer,
            refusals = CASE WHEN cast(:refused AS boolean) THEN refusals + 1
                WHEN :refused IS NULL THEN refusals ELSE 0 END,
            node_hash = coalesce(cast(:node_hash AS bytea), node_hash)
        WHERE hash = :hash
    ), s AS (
        UPDATE control.slot SET next_action_at = :again
        WHERE signer = :signer AND nonce = :nonce AND open RETURNING command
    )
    UPDATE control.command c SET next_action_at = :again
    FROM s WHERE c.id = s.command AND c.next_action_at IS NOT NULL
    """
)
_OF_SLOT = (
    attempt.c.signer == bindparam("name"),
    attempt.c.nonce == bindparam("of_nonce"),
)
_ATTEMPTS = select(attempt).where(*_OF_SLOT).order_by(attempt.c.number)
_NEXT_NUMBER = select(func.coalesce(func.max(attempt.c.number), 0) + 1).where(*_OF_SLOT)

_INSERT = (
    insert(attempt)
    .values(
        {
            each: bindparam(each)
            for each in (
                "signer", "nonce", "number", "purpose", "raw", "hash", "gas_price",
                "priority_fee", "signed_at", "reach",
            )
        }
    )
    .on_conflict_do_nothing(index_elements=["hash"])
)  # fmt: skip
_SET_GAS = (
    update(command)
    .where(command.c.id == bindparam("of_id"), command.c.gas_limit < bindparam("gas"))
    .values(gas_limit=bindparam("gas"))
)
_BY_HASH = select(attempt).where(attempt.c.hash == bindparam("of_hash"))


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One signed transaction for a slot; prices in wei per unit of gas."""

    signer: str
    nonce: int
    number: int
    purpose: str
    raw: bytes
    hash: bytes
    gas_price: int
    priority_fee: int | None
    sent_count: int
    sent_at: datetime | None
    signed_at: datetime
    reach: int | None
    refusals: int


def record_attempt(
    connection: Connection,
    *,
    signer: str,
    nonce: int,
    purpose: str,
    raw: bytes,
    hash_: bytes,
    gas_price: int,
    priority_fee: int | None = None,
    gas: int | None = None,
    reach: int | None = None,
    now: datetime,
) -> AttemptRow | None:
    """Store signed bytes if the slot is still open; None: it is not, forget them.

    `gas` is the limit that a call was signed with, for its command; `reach` the last
    block that the index had of the signer.
    """
    locked = lock_slot(connection, signer, nonce)
    if not locked.open:
        return None
    values = {"name": signer, "of_nonce": nonce}
    number = connection.execute(_NEXT_NUMBER, values).scalar_one()
    connection.execute(
        _INSERT,
        {
            "signer": signer, "nonce": nonce, "number": number, "purpose": purpose,
            "raw": raw, "hash": hash_, "gas_price": gas_price,
            "priority_fee": priority_fee, "signed_at": now, "reach": reach,
        },
    )  # fmt: skip
    if gas is not None:
        connection.execute(_SET_GAS, {"of_id": locked.command, "gas": gas})
    # Another worker may have signed the very same bytes.
    row = connection.execute(_BY_HASH, {"of_hash": hash_}).one()
    if locked.command is not None:
        owner = lock(connection, locked.command)
        if owner.state is State.SLOTTED:
            move(connection, owner, State.SIGNED, now, transaction=hash_)
    return _attempt(row)


def note_answer(
    connection: Connection,
    sent: AttemptRow,
    answer: str,
    now: datetime,
    *,
    again_at: datetime,
    node_hash: bytes | None = None,
    refused: bool | None = None,
) -> None:
    """Record a send and the node's answer; for information only.

    `refused` says whether the node does not want them; None: nobody answered.

    `again_at` is when they are sent again, should the index not show them by then. A
    node may give a transaction another hash than its bytes have (Polygon Edge does, for
    EIP-1559 before a fork): it is kept, for the index will name that one.
    """
    connection.execute(
        _NOTE,
        {
            "hash": sent.hash, "answer": answer[:500], "now": now, "again": again_at,
            "node_hash": None if node_hash == sent.hash else node_hash,
            "signer": sent.signer, "nonce": sent.nonce, "refused": refused,
        },
    )  # fmt: skip


def attempts_of(connection: Connection, signer: str, nonce: int) -> list[AttemptRow]:
    """The attempts of a slot, in order."""
    values = {"name": signer, "of_nonce": nonce}
    return [_attempt(row) for row in connection.execute(_ATTEMPTS, values)]


def _attempt(row: Any) -> AttemptRow:
    return from_row(AttemptRow, row)
