"""Reconcile a signer's rows with its account's indexed transactions.

Another wallet may use the key, a block with its transaction may be undone, and a
database restored from a backup knows nothing of what was done since. What the chain
says each transaction was for (`matching`) is believed: a command that ran is never sent
again, and a transaction for a command that nobody knows halts the signer.
Calls that carry no id are recognised by what they do; that nobody knows their command
is noticed of those with an id alone.
"""

import logging
import uuid
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from db.commands.accept import CommandRow, lock, move
from db.commands.evm.matching import command_for
from db.commands.evm.slots import insert_slot
from db.commands.evm.tags import command_id_of
from db.commands.signers import SignerRow, find_signer, lock_signer, pause
from db.commands.states import FAR_NONCES, TERMINAL, State
from db.control import sender_transaction, signer
from db.incidents import list_incidents
from db.position import BlockRange

WINDOW = 1024  # nonces that are looked at in one question

log = logging.getLogger(__name__)

_SCOPE = text(
    """
    SELECT control.sender_reach(g.source, g.address) AS reach, src.final,
        g.gate_height, control.known_nonce(g.name) AS known
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
# What is known of the nonces from one on, lowest first: by a slot, or by the chain.
_USED = text(
    """
    SELECT nonce FROM (
        SELECT s.nonce FROM control.slot s
        WHERE s.signer = :name AND s.nonce >= :low AND s.nonce < :high
        UNION ALL
        SELECT t.nonce FROM control.sender_transaction t
        WHERE t.source = :source AND t.sender = :address
            AND t.nonce >= :low AND t.nonce < :high
    ) used
    GROUP BY nonce ORDER BY nonce
    """
)
_OPEN = text(
    """
    SELECT nonce FROM control.slot WHERE signer = :name AND open ORDER BY nonce
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
    all later ones. A signer that is halted fills nothing.
    """
    row = lock_signer(connection, name)
    scope = connection.execute(_SCOPE, {"name": name}).one()
    if scope.reach is None:
        return
    halt = _trouble(connection, row) or _far(row, scope)
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
    if not (row.paused or halt):
        for nonce in _to_fill(connection, row, settled, high):
            insert_slot(connection, name, nonce, None, now)
    checked = settled if waiting is None else min(settled, waiting)
    connection.execute(
        update(signer)
        .where(signer.c.name == name)
        .values(next_nonce=high, checked_nonce=max(checked, row.checked_nonce))
    )
    if halt and not row.paused:
        alarm(connection, name, halt)


def _to_fill(
    connection: Connection, row: SignerRow, low: int, high: int
) -> Iterator[int]:
    """Return the lowest unused nonces, as many as the signer may have in flight.

    No more are open below one than the signer may have in flight: those above it wait
    for it, and take no room from it.
    """
    values = {"name": row.name, "source": row.source, "address": row.address}
    below = connection.execute(_OPEN, {"name": row.name}).scalars().all()
    filled = 0
    while low < high:
        end = min(low + WINDOW, high)
        scope = {**values, "low": low, "high": end}
        used = set(connection.execute(_USED, scope).scalars())
        for nonce in range(low, end):
            if nonce in used:
                continue
            if bisect_left(below, nonce) + filled >= row.max_in_flight:
                return
            yield nonce
            filled += 1
        low = end


def nonces_known(
    connection: Connection, name: str, source: int, address: bytes
) -> int | None:
    """The nonce after the last that the database knows of an account; None: of none."""
    row = find_signer(connection, name)
    last = connection.execute(
        select(func.max(sender_transaction.c.nonce)).where(
            sender_transaction.c.source == source,
            sender_transaction.c.sender == address,
        )
    ).scalar()
    found = [] if row is None else [row.next_nonce]
    return max([*found, *([] if last is None else [int(last) + 1])], default=None)


def alarm(connection: Connection, name: str, reason: str) -> None:
    """Halt a signer until a person has seen why."""
    pause(connection, name, paused=True, reason=reason)
    log.error("signer_halted signer=%s cause=%s", name, reason)


def _untracked(connection: Connection, row: SignerRow) -> list[Any]:
    values = {"source": row.source, "address": row.address, "name": row.name,
              "low": row.checked_nonce}  # fmt: skip
    return list(connection.execute(_UNTRACKED, values))


def _trouble(connection: Connection, row: SignerRow) -> str:
    """Return why this database must not be relied on, such as an open incident."""
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
        f"the transaction that settled nonce {undone} is no longer on the chain, "
        "although its block was final. Compare the later commands with the chain, then "
        f"run `chainfold sign resume {row.name}`"
    )


def _far(row: SignerRow, scope: Any) -> str:
    """Return why the next nonce is not to be believed, if it is not."""
    if scope.known is None or scope.reach < scope.gate_height:
        return ""
    if row.next_nonce <= scope.known + FAR_NONCES:
        return ""
    return (
        f"a node counted {row.next_nonce} as the next nonce, and the index shows "
        f"{scope.known}: check the endpoints, then run "
        f"`chainfold sign resume {row.name}` to continue from the index"
    )


def _recognise(
    connection: Connection, row: SignerRow, found: Any, now: datetime, *, final: int
) -> bool | str:
    """Give a transaction without a slot to the command that it was for.

    True: done, or it was for none. False: the command has another nonce still, of which
    the index must tell first. Text: why the signer has to be halted.
    """
    nonce, tag = int(found.nonce), command_id_of(bytes(found.data))
    known = command_for(connection, row.name, found)
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
    """Return the alarm for a transaction of a command that the database lacks."""
    return (
        f"nonce {nonce} executed command {command_id}, which this database lacks: an "
        "older backup was restored, or another Chainfold uses the key. Restore the "
        f"newer database, or run `chainfold sign resume {name}` to continue without it"
    )


def _again(name: str, nonce: int, owner: CommandRow) -> str:
    return (
        f"nonce {nonce} executed command {owner.id}, which had ended as {owner.state}: "
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
