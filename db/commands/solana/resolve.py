"""Decide by the index whether an attempt landed, or can land no more.

An attempt landed when a walk listed its signature for the program that it calls, and it
succeeded or failed when its slot was read at finality. It is dead when the cluster has
finalized a block beyond the last at which its blockhash was valid, the index has gone
through every slot up to there, and no walk listed it. Nodes are asked besides, before
`bury` is called; what they say alone decides nothing. When they say that it may land,
it was called past too early (`forget_past`).
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text, update

from db.commands.accept import CommandRow, lock, move
from db.commands.solana.attempts import AttemptRow, as_attempt, attempts_of
from db.commands.states import State
from db.control import solana_attempt as attempt

_LOOK = """
    SELECT a.*, c.state AS command_state, c.valid_until, l.slot AS landed,
        l.final AND l.written AND l.slot <= src.final AS final, f.error,
        a.past_slot <= src.final AND EXISTS (
            SELECT FROM control.listing g
            WHERE g.source = c.source AND g.address = c.target
                AND g.slots @> int8range(a.slot, a.past_slot, '[]')
        ) AS passed
    FROM control.solana_attempt a
    JOIN control.command c ON c.id = a.command
    JOIN control.source src ON src.id = c.source
    LEFT JOIN LATERAL (
        SELECT s.slot, s.final, s.written FROM control.signature s
        WHERE s.source = c.source AND s.address = c.target AND s.slot >= a.slot
            AND (a.past_slot IS NULL OR s.slot <= a.past_slot)
            AND s.signature = a.signature
        LIMIT 1
    ) l ON true
    LEFT JOIN LATERAL (
        SELECT f.error FROM control.failed_transaction f
        WHERE f.source = c.source AND f.transaction = a.signature
            AND f.position BETWEEN l.slot << 32 AND ((l.slot + 1) << 32) - 1
        LIMIT 1
    ) f ON true
    WHERE a.state = 'open'
"""
_OF_SIGNER = text(f"{_LOOK} AND a.signer = :name ORDER BY a.command")
_OF_WALLETS = text(
    f"{_LOOK} AND a.signer IS NULL AND c.source = :source ORDER BY a.command"
)
_OF_COMMAND = text(f"{_LOOK} AND a.command = :command ORDER BY a.number")
_OF_ATTEMPT = text(f"{_LOOK} AND a.signature = :signature ORDER BY a.command")
_OF_BOTH = text(f"{_LOOK} AND a.signature = :signature AND a.command = :command")
_UNSIGNED = text(
    """
    SELECT c.id FROM control.command c
    WHERE c.signer = :name AND c.state IN ('signed', 'closing') AND EXISTS (
        SELECT FROM control.solana_attempt a WHERE a.command = c.id
    ) AND NOT EXISTS (
        SELECT FROM control.solana_attempt a
        WHERE a.command = c.id AND a.state <> 'dead'
    ) ORDER BY c.id
    """
)
_SET_STATE = (
    update(attempt)
    .where(
        attempt.c.signature == bindparam("of_signature"),
        attempt.c.command == bindparam("of_command"),
    )
    .values(state=bindparam("new"))
)


@dataclass(frozen=True, slots=True)
class Look:
    """An open attempt as the index shows it.

    `landed` is its slot, `final` whether it cannot be undone, `error` how it failed
    there. `passed`: the index has every slot in which it could have landed.
    """

    attempt: AttemptRow
    state: State
    late: bool
    due: bool
    landed: int | None
    final: bool
    passed: bool
    error: str | None


def open_attempts(connection: Connection, name: str, now: datetime) -> list[Look]:
    """Return the open attempts of a signer, as the index shows them."""
    rows = connection.execute(_OF_SIGNER, {"name": name})
    return [_look(row, now) for row in rows]


def open_of_wallets(connection: Connection, source: int, now: datetime) -> list[Look]:
    """Return the open attempts that wallets signed for a chain."""
    rows = connection.execute(_OF_WALLETS, {"source": source})
    return [_look(row, now) for row in rows]


def open_of_command(
    connection: Connection, command_id: uuid.UUID, now: datetime
) -> list[Look]:
    """Return the open attempts of a command, in order."""
    rows = connection.execute(_OF_COMMAND, {"command": command_id})
    return [_look(row, now) for row in rows]


def to_sign_again(connection: Connection, name: str) -> list[uuid.UUID]:
    """The commands of a signer whose attempts are all dead: nothing of them landed."""
    return list(connection.execute(_UNSIGNED, {"name": name}).scalars())


def note_past(connection: Connection, signature: bytes, slot: int) -> None:
    """Remember a finalized slot beyond the last in which an attempt can land.

    One below the slot of the attempt is not remembered.
    """
    connection.execute(
        update(attempt)
        .where(
            attempt.c.signature == signature,
            attempt.c.past_slot.is_(None),
            attempt.c.slot <= slot,
        )
        .values(past_slot=slot)
    )


def forget_past(connection: Connection, signature: bytes) -> None:
    """Let an attempt be sent and looked for again: it was called past too early."""
    connection.execute(
        update(attempt)
        .where(attempt.c.signature == signature, attempt.c.state == "open")
        .values(past_slot=None)
    )


def settle_attempt(
    connection: Connection,
    signature: bytes,
    now: datetime,
    *,
    retried: frozenset[str] = frozenset(),
    reason: str = "",
) -> str | None:
    """Bring a command up to date with what the index shows of an attempt.

    Returns its end, if it has one: succeeded, reverted, or retried, when the error it
    failed with is one of `retried`. Everything is read again under the command's lock,
    so it may be called at any time. `reason` is told of a failure.
    """
    row = connection.execute(_OF_ATTEMPT, {"signature": signature}).first()
    if row is None:
        return None
    owner = lock(connection, row.command)
    row = connection.execute(_OF_ATTEMPT, {"signature": signature}).first()
    if row is None:
        return None
    found = _look(row, now)
    if found.landed is None:
        if owner.state is State.INCLUDED:
            move(connection, owner, State.SIGNED, now, reason="its block was undone")
        return None
    if not found.final:
        if owner.state is State.SIGNED:
            move(
                connection, owner, State.INCLUDED, now,
                transaction=signature, height=found.landed,
            )  # fmt: skip
        return None
    return _finish(connection, owner, found, now, retried, reason)


def bury(connection: Connection, signature: bytes, now: datetime) -> bool:
    """Call an attempt dead, which nodes do not know; whether it is.

    The index is asked again under the lock of each command that it is for. A command
    that was to end ends.
    """
    of_any = connection.execute(_OF_ATTEMPT, {"signature": signature}).all()
    dead = False
    for command_id in [each.command for each in of_any]:
        owner = lock(connection, command_id)
        both = {"signature": signature, "command": command_id}
        row = connection.execute(_OF_BOTH, both).first()
        if row is None or row.landed is not None or not row.passed:
            continue
        set_attempt_state(connection, as_attempt(row), "dead")
        _end_if_over(connection, owner, now)
        dead = True
    return dead


def end_if_over(connection: Connection, command_id: uuid.UUID, now: datetime) -> bool:
    """End a command that was to end, once nothing of it can land; whether it ended."""
    return _end_if_over(connection, lock(connection, command_id), now)


def _end_if_over(connection: Connection, owner: CommandRow, now: datetime) -> bool:
    late = owner.valid_until is not None and owner.valid_until <= now
    is_closing = owner.state is State.CLOSING
    if not (is_closing or (late and owner.state is State.SIGNED)):
        return False
    if any(each.state != "dead" for each in attempts_of(connection, owner.id)):
        return False
    if late:
        move(connection, owner, State.EXPIRED, now, reason="its time was over")
    else:
        move(connection, owner, State.CANCELLED, now, reason="cancelled by request")
    return True


def _finish(
    connection: Connection,
    owner: CommandRow,
    found: Look,
    now: datetime,
    retried: frozenset[str],
    reason: str,
) -> str:
    assert found.landed is not None
    signature = found.attempt.signature
    landing = {"transaction": signature, "height": found.landed}
    if found.error is None:
        set_attempt_state(connection, found.attempt, "landed")
        late = owner.state is State.CLOSING
        words = "it landed before its cancel" if late else ""
        move(connection, owner, State.SUCCEEDED, now, reason=words, **landing)
        return "succeeded"
    words = reason or found.error
    ends = found.late or owner.state is State.CLOSING
    if found.error in retried and not ends:
        # What failed had no effect: another transaction may do it.
        set_attempt_state(connection, found.attempt, "dead")
        move(connection, owner, State.ACCEPTED, now, reason=words)
        return "retried"
    set_attempt_state(connection, found.attempt, "landed")
    move(connection, owner, State.REVERTED, now, reason=words, **landing)
    return "reverted"


def set_attempt_state(connection: Connection, of: AttemptRow, state: str) -> None:
    """Let an attempt have landed, or be dead, for its command."""
    values = {"of_signature": of.signature, "of_command": of.command, "new": state}
    connection.execute(_SET_STATE, values)


def _look(row: Any, now: datetime) -> Look:
    return Look(
        as_attempt(row),
        State(row.command_state),
        row.valid_until is not None and row.valid_until <= now,
        row.next_action_at <= now,
        row.landed,
        bool(row.final),
        bool(row.passed),
        row.error,
    )
