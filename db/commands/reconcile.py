"""T8: the signer's rows brought in line with what the index shows of its account.

Another wallet may use the key, a block with its transaction may be undone, and a
database restored from a backup knows nothing of what was done since. What the chain
says each transaction was for (`db.commands.alike`) is believed: a command that ran is
never sent again, and a transaction for a command that nobody knows halts the signer.
Calls that carry no id are recognised by what they do; that nobody knows their command
is noticed of those with an id alone.
"""

import logging
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from db.commands.accept import CommandRow, lock, move
from db.commands.alike import whose
from db.commands.slots import SignerRow, insert_slot, lock_signer, pause
from db.commands.states import TERMINAL, State
from db.commands.tags import command_id_of
from db.control import sender_transaction, signer
from db.incidents import list_incidents
from db.position import BlockRange

log = logging.getLogger(__name__)

_SCOPE = text(
    """
    SELECT control.sender_reach(g.source, g.address) AS reach, src.final
    FROM control.signer g JOIN control.source src ON src.id = g.source
    WHERE g.name = :name
    """
)
_UNTRACKED = text(
    """
    SELECT t.nonce, t.recipient, t.value, t.data, t.position >> 32 AS height
    FROM control.sender_transaction t
    WHERE t.source = :source AND t.sender = :address AND t.nonce >= :low
        AND t.data <> ''
        AND NOT EXISTS (SELECT FROM control.slot s
            WHERE s.signer = :name AND s.nonce = t.nonce)
    ORDER BY t.nonce
    """
)
_GAPS = text(
    """
    SELECT n FROM generate_series(cast(:low AS bigint), :high - 1) n
    WHERE NOT EXISTS (SELECT FROM control.slot s
            WHERE s.signer = :name AND s.nonce = n)
        AND NOT EXISTS (SELECT FROM control.sender_transaction t
            WHERE t.source = :source AND t.sender = :address AND t.nonce = n)
    ORDER BY n LIMIT 64
    """
)
_UNDONE = text(
    """
    SELECT min(s.nonce) FROM control.signer g JOIN control.slot s ON s.signer = g.name
    WHERE g.name = :name AND NOT s.open AND s.nonce >= g.checked_nonce - 64
        AND s.height <= control.sender_reach(g.source, g.address)
        AND NOT EXISTS (SELECT FROM control.sender_transaction t
            WHERE t.source = g.source AND t.hash = s.hash)
    """
)


def reconcile(connection: Connection, name: str, now: datetime) -> None:
    """Account for every transaction of the signer, and leave no nonce unused behind.

    The floor of new nonces is what the index has seen of the signer. A nonce below it
    that no slot holds and no indexed transaction consumed is filled: it would block
    all later ones.
    """
    row = lock_signer(connection, name)
    scope = connection.execute(_SCOPE, {"name": name}).one()
    if scope.reach is None:
        return
    halt = _trouble(connection, row)
    floor = _after_last(connection, row, scope.reach)
    settled = _after_last(connection, row, min(scope.final, scope.reach))
    waiting: int | None = None
    for found in _untracked(connection, row):
        outcome = _recognise(connection, row, found, now, final=scope.final)
        if isinstance(outcome, str):
            halt = halt or outcome
        if outcome is not True and waiting is None:
            waiting = int(found.nonce)
    high = max(floor, row.next_nonce)
    values = {"low": settled, "high": high, "name": name,
              "source": row.source, "address": row.address}  # fmt: skip
    for nonce in connection.execute(_GAPS, values).scalars().all():
        insert_slot(connection, name, nonce, None, now)
    checked = settled if waiting is None else min(settled, waiting)
    connection.execute(
        update(signer)
        .where(signer.c.name == name)
        .values(next_nonce=high, checked_nonce=max(checked, row.checked_nonce))
    )
    if halt and not row.paused:
        alarm(connection, name, halt)


def alarm(connection: Connection, name: str, reason: str) -> None:
    """Halt a signer until a person has seen why."""
    pause(connection, name, paused=True, reason=reason)
    log.error("signer_halted signer=%s cause=%s", name, reason)


def _untracked(connection: Connection, row: SignerRow) -> list[Any]:
    values = {"source": row.source, "address": row.address, "name": row.name,
              "low": row.checked_nonce}  # fmt: skip
    return list(connection.execute(_UNTRACKED, values))


def _trouble(connection: Connection, row: SignerRow) -> str:
    """Why nothing that this database says may be built upon, if it is so."""
    for each in list_incidents(connection, source=row.source):
        return (
            f"the chain was stopped by incident {each.id} ({each.kind}): look at "
            "`chainfold incident list`, when you know why run `chainfold incident "
            f"resolve {each.id} --reason <why>`, then "
            f"`chainfold sign resume {row.name}`"
        )
    undone = connection.execute(_UNDONE, {"name": row.name}).scalar()
    if undone is None:
        return ""
    return (
        f"the transaction that settled nonce {undone} is no longer on the chain: what "
        "was told as final was not. Compare the commands since with the chain, then "
        f"run `chainfold sign resume {row.name}`"
    )


def _recognise(
    connection: Connection, row: SignerRow, found: Any, now: datetime, *, final: int
) -> bool | str:
    """Give a transaction without a slot to the command that it was for.

    True: done, or it was for none. False: the command has another nonce still, of which
    the index must tell first. Text: why the signer has to be halted.
    """
    nonce, tag = int(found.nonce), command_id_of(bytes(found.data))
    known = whose(connection, row.name, found)
    if known is None:
        return True if tag is None else unknown_tag(row.name, nonce, tag)
    owner = lock(connection, known.id)
    if owner.state is State.HELD:
        owner = move(connection, owner, State.ACCEPTED, now)
    if owner.state is not State.ACCEPTED:
        ended = owner.state in TERMINAL and found.height <= final
        return _again(row.name, nonce, owner) if ended else False
    insert_slot(connection, row.name, nonce, owner.id, now)
    move(
        connection, owner, State.SLOTTED, now,
        reason=f"the chain shows it at nonce {nonce}",
    )  # fmt: skip
    return True


def unknown_tag(name: str, nonce: int, command_id: uuid.UUID) -> str:
    """Why a transaction for a command that the database does not know is alarming."""
    return (
        f"nonce {nonce} ran command {command_id}, which this database does not know: "
        "an older backup was restored, or another Chainfold uses the key. Bring back "
        f"the newer database, or run `chainfold sign resume {name}` to go on without it"
    )


def _again(name: str, nonce: int, owner: CommandRow) -> str:
    return (
        f"nonce {nonce} ran command {owner.id}, which had ended as {owner.state}: "
        "compare its history with the chain, then run "
        f"`chainfold sign resume {name}`"
    )


def _after_last(connection: Connection, row: SignerRow, height: int) -> int:
    """The nonce after the last that the chain consumed up to a height."""
    if height < 0:
        return row.first_nonce
    seen = connection.execute(
        select(func.max(sender_transaction.c.nonce)).where(
            sender_transaction.c.source == row.source,
            sender_transaction.c.sender == row.address,
            sender_transaction.c.position <= BlockRange(0, height).highest,
        )
    ).scalar()
    return row.first_nonce if seen is None else int(seen) + 1
