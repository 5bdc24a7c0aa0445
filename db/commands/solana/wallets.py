"""Commands on Solana that a client's own wallet signs.

What the wallet signed is an attempt without a signer of ours, whether it was handed to
us or found on the chain: a memo with the command's id says what it was for. While one
that we were given may land no other is taken, for both could. A wallet may sign and
send another by itself all the same, so a command may have several that are open. What
is only relayed is its command's one attempt, and has no other.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from db.commands.accept import CommandRow, as_row, lock, move, record
from db.commands.errors import AlreadyEnded, NonceConflict
from db.commands.late import tell_late
from db.commands.solana.attempts import (
    SignedTransaction,
    attempts_of,
    insert_attempt,
)
from db.commands.solana.resolve import Look, open_of_command, set_attempt_state
from db.commands.spelling import transaction_text
from db.commands.states import TERMINAL, State
from db.commands.watching import RELAY
from db.control import command, solana_attempt, solana_wallet

log = logging.getLogger(__name__)

OVERLAP = 64  # slots below the examined ones that are looked at once more

# Of the wallets with something to find: those of commands that wait, where a walk has
# listed anything of the program since, and those whose command ended a while ago.
_TO_LOOK_AT = text(
    """
    WITH wanted AS (
        SELECT c.sender, min(c.seen_from) AS first FROM control.command c
        WHERE c.source = :source AND octet_length(c.sender) = 32
            AND c.next_action_at IS NOT NULL AND c.kind <> :relay
            AND EXISTS (SELECT FROM control.signature s
                WHERE s.source = c.source AND s.address = c.target
                    AND s.slot >= c.seen_from)
        GROUP BY c.sender
        UNION ALL
        SELECT sender, seen_from FROM control.wallet_watch
        WHERE source = :source AND octet_length(sender) = 32
    )
    SELECT w.sender, greatest(min(w.first), max(l.examined) - :overlap) AS since
    FROM wanted w LEFT JOIN control.solana_wallet l
        ON l.source = :source AND l.address = w.sender
    WHERE l.looked_at IS NULL OR l.looked_at <= :before
    GROUP BY w.sender ORDER BY max(l.looked_at) NULLS FIRST, w.sender LIMIT :most
    """
)
_OVER = text(
    """
    SELECT c.id FROM control.command c
    WHERE c.source = :source AND octet_length(c.sender) = 32
        AND c.next_action_at IS NOT NULL
        AND (c.state <> 'accepted' OR c.valid_until <= :now)
        AND NOT EXISTS (SELECT FROM control.solana_attempt a
            WHERE a.command = c.id AND a.state = 'open')
    ORDER BY c.id
    """
)

_UNKNOWN = text(
    """
    SELECT DISTINCT s.signature FROM control.signature s
    WHERE s.source = :source AND s.slot >= :since AND s.signature = ANY(:given)
        AND s.address IN (SELECT c.target FROM control.command c
            WHERE c.source = :source AND c.sender = :sender)
        AND NOT EXISTS (SELECT FROM control.solana_attempt a
            WHERE a.signature = s.signature)
    """
)


@dataclass(frozen=True, slots=True)
class WalletLook:
    """A wallet that is to be looked at, from a slot on."""

    address: bytes
    since: int


def is_kept(connection: Connection, row: CommandRow, given: bytes) -> bool:
    """Whether a transaction was stored for a command, and is not dead.

    Raises AlreadyEnded, and NonceConflict while another that was signed may land.
    """
    standing = [
        bytes(each.signature)
        for each in attempts_of(connection, row.id)
        if each.state != "dead"
    ]
    if given in standing:
        return True
    if row.state in TERMINAL or row.state is State.CLOSING:
        raise AlreadyEnded(
            f"command {row.id} is {row.state}: nothing is sent for it any more"
        )
    for each in standing:
        raise NonceConflict(
            f"command {row.id} was signed before, as {transaction_text(each)}, which "
            "may still land: both could have their effect. Wait until that one can "
            "land no more, about a minute, ask for the command again, and sign what "
            "it says then"
        )
    return False


def relayed_before(
    connection: Connection, tenant: str, given: bytes
) -> CommandRow | None:
    """Return the tenant's command that a transaction is for, by its signature.

    Until commit nobody else keeps the same transaction for the tenant.
    """
    name = f"{tenant}:{given.hex()}"
    connection.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0)))
    )
    query = (
        select(command)
        .join(solana_attempt, solana_attempt.c.command == command.c.id)
        .where(solana_attempt.c.signature == given, command.c.tenant == tenant)
        .order_by(command.c.id)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else as_row(row)


def store_signed(
    connection: Connection,
    command_id: uuid.UUID,
    made: SignedTransaction,
    now: datetime,
) -> CommandRow:
    """Keep what a wallet signed, before it is sent; the same bytes are kept once.

    Raises what `is_kept` does, and AlreadyEnded for what is known to be dead.
    """
    row = lock(connection, command_id)
    given = made.signature.signature
    if is_kept(connection, row, given):
        return row
    attempts = attempts_of(connection, command_id)
    if any(bytes(each.signature) == given for each in attempts):
        raise AlreadyEnded(
            f"{transaction_text(given)} can land no more: ask for command {row.id} "
            "again, and sign what it says then"
        )
    insert_attempt(connection, row, len(attempts) + 1, made, now)
    if row.state is State.ACCEPTED:
        row = move(connection, row, State.SIGNED, now, transaction=given)
    return row


def note_found(
    connection: Connection,
    command_id: uuid.UUID,
    made: SignedTransaction,
    now: datetime,
) -> bool:
    """Keep a transaction that the wallet sent by itself; whether it is new.

    What became of it the index says, as of what was handed to us.
    """
    row = lock(connection, command_id)
    attempts = attempts_of(connection, command_id)
    if any(bytes(each.signature) == made.signature.signature for each in attempts):
        return False
    insert_attempt(connection, row, len(attempts) + 1, made, now)
    return True


def wallets_to_look_at(
    connection: Connection, source: int, before: datetime, most: int
) -> list[WalletLook]:
    """Return wallets that were last looked at before a time, the longest ago first."""
    rows = connection.execute(
        _TO_LOOK_AT,
        {
            "source": source, "before": before, "most": most, "overlap": OVERLAP,
            "relay": RELAY,
        },
    )  # fmt: skip
    return [WalletLook(bytes(sender), since) for sender, since in rows]


def note_looked(
    connection: Connection, source: int, wallet: bytes, examined: int, now: datetime
) -> None:
    """Remember that all that a wallet sent up to a final slot was looked at."""
    values = {"looked_at": now, "examined": examined}
    statement = insert(solana_wallet).values(source=source, address=wallet, **values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["source", "address"], set_=values
        )
    )


def unknown_of(
    connection: Connection, source: int, wallet: WalletLook, given: Sequence[bytes]
) -> list[bytes]:
    """Return those signatures that are listed for programs that it was to call.

    Without those that are stored already.
    """
    rows = connection.execute(
        _UNKNOWN,
        {
            "source": source, "sender": wallet.address, "since": wallet.since,
            "given": list(given),
        },
    )  # fmt: skip
    return [bytes(each) for each in rows.scalars()]


def over(connection: Connection, source: int, now: datetime) -> list[uuid.UUID]:
    """The commands of wallets that nothing open is for, and that go on or end."""
    return list(connection.execute(_OVER, {"source": source, "now": now}).scalars())


def settle_wallet_command(
    connection: Connection,
    command_id: uuid.UUID,
    now: datetime,
    *,
    retried: frozenset[str] = frozenset(),
    reason: str = "",
) -> CommandRow:
    """Bring a wallet's command up to date with the index; may be called at any time.

    An error that is one of `retried` ends nothing; `reason` is told of a failure.
    """
    row = lock(connection, command_id)
    looks = open_of_command(connection, command_id, now)
    done = [each for each in looks if each.final]
    done.sort(key=lambda each: each.error is not None)  # one that succeeded counts
    for each in done:
        row = _landed(connection, row, each, len(looks) > 1, now, retried, reason)
    if row.state in TERMINAL:
        return row
    left = [each for each in looks if not each.final]
    seen = [each for each in left if each.landed is not None]
    if seen:
        return _included(connection, row, seen[0], now)
    if row.state is State.INCLUDED:
        back = State.SIGNED if left or row.kind == RELAY else State.ACCEPTED
        row = move(connection, row, back, now, reason="its block was undone")
    return row if left else _nothing_open(connection, row, now)


def _included(
    connection: Connection, row: CommandRow, seen: Look, now: datetime
) -> CommandRow:
    """Tell of a transaction in a block that is not final."""
    landing: dict[str, Any] = {
        "transaction": seen.attempt.signature,
        "height": seen.landed,
    }
    if row.state is State.INCLUDED:
        if (row.transaction, row.height) == tuple(landing.values()):
            return row
        row = move(connection, row, State.SIGNED, now, reason="its block was undone")
    if row.state is State.CLOSING:
        return row
    return move(connection, row, State.INCLUDED, now, **landing)


def _landed(
    connection: Connection,
    row: CommandRow,
    found: Look,
    others: bool,
    now: datetime,
    retried: frozenset[str],
    reason: str,
) -> CommandRow:
    """Settle what landed for good: by it the command ends, unless it has."""
    assert found.landed is not None
    given, error = found.attempt.signature, found.error
    landing: dict[str, Any] = {"transaction": given, "height": found.landed}
    if row.state in TERMINAL:
        set_attempt_state(connection, found.attempt, "landed")
        return _late(connection, row, found, now)
    words = reason or error or ""
    if error is None:
        set_attempt_state(connection, found.attempt, "landed")
        late = row.state is State.CLOSING
        words = "it landed before its cancel" if late else ""
        return move(connection, row, State.SUCCEEDED, now, reason=words, **landing)
    if others or (
        error in retried and not found.late and row.state is not State.CLOSING
    ):
        # What failed had no effect: another of the wallet's may have it.
        set_attempt_state(connection, found.attempt, "dead")
        words = f"it failed: {words}"
        if row.state is State.INCLUDED:
            return move(connection, row, State.SIGNED, now, reason=words)
        record(connection, row.id, row.state, {"reason": words}, now)
        return row
    set_attempt_state(connection, found.attempt, "landed")
    return move(connection, row, State.REVERTED, now, reason=words, **landing)


def _late(
    connection: Connection, row: CommandRow, found: Look, now: datetime
) -> CommandRow:
    """Tell beside the state what landed after the end."""
    assert found.landed is not None
    given, good = found.attempt.signature, found.error is None
    if State.SUCCEEDED in (row.state, row.late_outcome):
        if good:
            log.warning("command_executed_again command=%s", row.id)
            details = {
                "transaction": transaction_text(given), "height": found.landed,
                "reason": "its wallet executed it once more",
            }  # fmt: skip
            record(connection, row.id, row.state, details, now)
        return row
    failed_before = bool(row.late_outcome) or row.state is State.REVERTED
    if failed_before and not good:
        return row
    return tell_late(connection, row, given, found.landed, now, succeeded=good)


def _nothing_open(connection: Connection, row: CommandRow, now: datetime) -> CommandRow:
    """Let a command wait for its wallet, or end: nothing for it can land any more."""
    late = row.valid_until is not None and row.valid_until <= now
    if row.kind == RELAY and row.state is State.SIGNED:
        reason = (
            "it is in no block, and can land no more: its blockhash is past. Sign it "
            "anew with a newer blockhash, and relay that"
        )
        return move(connection, row, State.EXPIRED, now, reason=reason)
    if late:
        reason = (
            "the wallet did not sign it in time; should it send it still, that is "
            "shown here"
        )
        return move(connection, row, State.EXPIRED, now, reason=reason)
    if row.state is State.CLOSING:
        reason = "cancelled by request"
        return move(connection, row, State.CANCELLED, now, reason=reason)
    if row.state is not State.SIGNED:
        return row
    reason = (
        "what the wallet signed can land no more: ask for the command again, and sign "
        "what it says now"
    )
    gone = {"transaction": None, "height": None}
    return move(connection, row, State.ACCEPTED, now, reason=reason, **gone)
