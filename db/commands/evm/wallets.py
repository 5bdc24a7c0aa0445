"""Commands that a client's own wallet signs: its nonces are its own business.

The calldata ends with the command's id, so that the indexed chain says by itself which
transaction was for which command, whether we relayed it or the wallet sent it. What is
only relayed has no id, nor have calls of a contract that takes none: of those only what
was given to us is known, by its nonce.

A command ends when its call is final, or when nobody sent it in time, or wants it any
more. The wallet may send it all the same: the state stays what it is, for it was told
as final, and `late_outcome` says beside it what became of the call.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from db import sources
from db.commands.accept import CommandRow, as_row, lock, move
from db.commands.errors import AlreadyEnded, NonceConflict, SignedBefore
from db.commands.evm.matching import signed_for_another
from db.commands.evm.tags import MARKER, command_id_of
from db.commands.late import tell_late
from db.commands.states import TERMINAL, State
from db.control import command, relay
from db.position import height_of

_NOWHERE: dict[str, Any] = {"transaction": None, "height": None}

# The transactions of the index that were for a command, the first one first.
_CALLS = """
    SELECT t.hash, t.succeeded, t.position, t.nonce
    FROM control.command c
    JOIN control.sender_transaction t
        ON t.source = c.source AND t.sender = c.sender
        AND t.recipient = c.target AND t.data = c.data AND t.value = c.value
    WHERE c.id = :command AND (right(encode(c.data, 'hex'), 64)
        = encode(uuid_send(c.id), 'hex') || :marker OR t.nonce IN (
        SELECT r.nonce FROM control.relay r WHERE r.command = c.id))
    """
_FOUND = text(_CALLS + "ORDER BY t.position LIMIT 1")
_LATE = text(
    _CALLS
    + """
        AND t.position >> 32 <= :final AND t.hash IS DISTINCT FROM c.transaction
    ORDER BY t.succeeded DESC, t.position LIMIT 1
    """
)
# The nonces that a command was signed with. One is `used` when a final block has
# another transaction with it, and `passed` when one has a later nonce and all blocks
# from the command's first on are read: what used it came before the command.
_NONCES = text(
    """
    WITH c AS (
        SELECT c.*, '0x' || encode(c.sender, 'hex') AS filter
        FROM control.command c WHERE c.id = :command
    ), passed AS (
        SELECT max(t.nonce) AS nonce
        FROM c JOIN control.coverage v
            ON v.source = c.source AND v.event = 'chain.transactions'
            AND v.filter = c.filter
        JOIN control.sender_transaction t ON t.source = c.source AND t.sender = c.sender
        WHERE t.position >> 32 BETWEEN c.seen_from AND :final
            AND v.blocks @> int8range(c.seen_from,
                greatest(c.seen_from, (t.position >> 32) + 1))
    ), signed AS (
        SELECT r.nonce, max(octet_length(r.raw)) > 0 AS kept
        FROM control.relay r WHERE r.command = :command GROUP BY r.nonce
    ), used AS (
        SELECT t.nonce,
            bool_or(t.recipient = c.target AND t.data = c.data AND t.value = c.value)
                AS call,
            bool_or(t.position >> 32 <= :final) AS final
        FROM c JOIN control.sender_transaction t
            ON t.source = c.source AND t.sender = c.sender
        WHERE t.nonce IN (SELECT nonce FROM signed) GROUP BY t.nonce
    )
    SELECT s.nonce, s.kept, coalesce(u.final AND NOT u.call, false) AS used,
        coalesce(s.nonce < p.nonce AND NOT coalesce(u.call, false), false) AS passed
    FROM signed s CROSS JOIN passed p LEFT JOIN used u ON u.nonce = s.nonce
    ORDER BY s.nonce
    """
)
_UNSETTLED = text(
    """
    SELECT c.id FROM control.command c
    WHERE c.source = :source AND c.sender IS NOT NULL AND c.next_action_at IS NOT NULL
        AND (c.state = 'included' OR c.valid_until <= :now OR EXISTS (
            SELECT FROM control.sender_transaction t
            WHERE t.source = c.source AND t.sender = c.sender
                AND t.position >= c.seen_from << 32))
    ORDER BY c.id
    """
)
# Bytes go again while the index shows no such nonce and no later one used, and the
# command was signed with none before it.
_SEND_AGAIN = text(
    """
    WITH waiting AS (
        SELECT r.*, c.source, c.sender FROM control.command c
        JOIN control.relay r ON r.command = c.id
        WHERE c.source = :source AND c.sender IS NOT NULL
            AND c.next_action_at IS NOT NULL AND c.state = 'signed'
            AND NOT EXISTS (SELECT FROM control.sender_transaction t
                WHERE t.source = c.source AND t.sender = c.sender
                    AND t.nonce >= r.nonce)
    )
    SELECT w.hash, w.raw FROM waiting w
    WHERE w.raw <> '' AND (w.sent_at IS NULL OR w.sent_at < :before)
        AND NOT EXISTS (SELECT FROM waiting earlier
            WHERE earlier.command = w.command AND earlier.nonce < w.nonce)
    ORDER BY w.relayed_at LIMIT 100
    """
)


@dataclass(frozen=True, slots=True)
class SignedNonce:
    """A nonce that a command was signed with.

    `kept`: its bytes were given to us. `used`: by something else, in a final block.
    `passed`: before the command was asked for.
    """

    nonce: int
    kept: bool
    used: bool
    passed: bool

    @property
    def live(self) -> bool:
        """Whether the call may still run with it."""
        return not (self.used or self.passed)


def relayed_before(
    connection: Connection, tenant: str, hash_: bytes
) -> CommandRow | None:
    """The tenant's command that bytes were kept for, if any.

    Until commit nobody else keeps the same bytes for the tenant.
    """
    name = f"{tenant}:{hash_.hex()}"
    connection.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0)))
    )
    query = (
        select(command)
        .join(relay, relay.c.command == command.c.id)
        .where(relay.c.hash == hash_, relay.c.raw != b"", command.c.tenant == tenant)
        .order_by(command.c.id)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else as_row(row)


def signed_nonces(
    connection: Connection, command_id: uuid.UUID, final: int
) -> list[SignedNonce]:
    """The nonces that a command was signed with, as far as we know, lowest first."""
    values = {"command": command_id, "final": final}
    return [
        SignedNonce(int(row.nonce), row.kept, row.used, row.passed)
        for row in connection.execute(_NONCES, values)
    ]


def bound_nonce(
    connection: Connection, command_id: uuid.UUID, final: int
) -> int | None:
    """The only nonce that a command may be signed with; None: any.

    That is the one of bytes that we were given and that may still run, else of a call
    that was in a block and may come again.
    """
    live = [each for each in signed_nonces(connection, command_id, final) if each.live]
    live.sort(key=lambda each: not each.kept)
    return live[0].nonce if live else None


def store_relay(
    connection: Connection,
    command_id: uuid.UUID,
    *,
    raw: bytes,
    hash_: bytes,
    nonce: int,
    now: datetime,
) -> CommandRow:
    """Keep what a wallet signed, before it is sent; the same bytes are kept once.

    Raises AlreadyEnded, SignedBefore, and NonceConflict while the call may still run
    with an earlier nonce: whichever transaction came second would run it again.
    """
    row = lock(connection, command_id)
    final = sources.by_id(connection, row.source).final
    row = settle_wallet_command(connection, command_id, final=final, now=now)
    if row.state in TERMINAL:
        raise AlreadyEnded(
            f"command {row.id} is {row.state}: nothing is sent for it any more"
        )
    bound = bound_nonce(connection, command_id, final)
    if bound not in (None, nonce):
        raise NonceConflict(
            f"command {row.id} was signed with nonce {bound} before, which may still "
            f"run: sign a replacement with nonce {bound}, or use that nonce for "
            "something else, and sign again when its block is final"
        )
    if (other := signed_for_another(connection, row, nonce)) is not None:
        raise SignedBefore(
            f"nonce {nonce} is signed for command {other}, which is the same call: "
            "one transaction cannot do both. Sign it with another nonce"
        )
    values = {"hash": hash_, "command": row.id, "nonce": nonce, "raw": raw}
    statement = insert(relay).values(**values, relayed_at=now)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["hash", "command"],
            set_={"raw": raw},
            where=relay.c.raw == b"",
        )
    )
    if row.state is State.ACCEPTED:
        row = move(connection, row, State.SIGNED, now, transaction=hash_)
    return row


def note_relayed(
    connection: Connection, hash_: bytes, answer: str, now: datetime
) -> None:
    """Record a send and the node's answer; for information only."""
    connection.execute(
        update(relay)
        .where(relay.c.hash == hash_)
        .values(sent_count=relay.c.sent_count + 1, sent_at=now, answer=answer[:500])
    )


def unsettled(connection: Connection, source: int, now: datetime) -> list[uuid.UUID]:
    """The commands of wallets that may have something new, oldest first.

    That is those whose wallet did anything since, whose time is over, or whose block
    may have been undone; most wait for a person, and nothing is asked about them.
    """
    values = {"source": source, "now": now}
    return list(connection.execute(_UNSETTLED, values).scalars())


def to_relay_again(
    connection: Connection, source: int, before: datetime
) -> list[tuple[bytes, bytes]]:
    """Hash and bytes of what was last sent before then and may still be mined."""
    rows = connection.execute(_SEND_AGAIN, {"source": source, "before": before})
    return [(bytes(hash_), bytes(raw)) for hash_, raw in rows]


def settle_wallet_command(
    connection: Connection,
    command_id: uuid.UUID,
    *,
    final: int,
    now: datetime,
    why: str = "",
) -> CommandRow:
    """Bring a wallet's command up to date with the index; may be called at any time.

    `final` is the last final block; `why` the reason to tell of a call that reverted.
    """
    row = lock(connection, command_id)
    if row.state in TERMINAL:
        return _note_late_outcome(connection, row, final, now)
    values = {"command": row.id, "marker": MARKER.hex()}
    found = connection.execute(_FOUND, values).first()
    if found is None:
        return _not_found(connection, row, final, now)
    hash_, height = bytes(found.hash), height_of(found.position)
    new = State.INCLUDED
    if height <= final:
        new = State.SUCCEEDED if found.succeeded else State.REVERTED
    elif row.state is State.INCLUDED:
        if (row.transaction, row.height) == (hash_, height):
            return row
        row = _undone(connection, row, final, now)
    if new is State.INCLUDED:
        _remember(connection, row, found, now)
    reason = why if new is State.REVERTED else ""
    return move(
        connection, row, new, now, reason=reason, transaction=hash_, height=height
    )


def _remember(
    connection: Connection, row: CommandRow, found: Any, now: datetime
) -> None:
    """Keep the nonce of a call in a block that may be undone: it can come again."""
    known = select(relay.c.nonce).where(relay.c.command == row.id)
    if found.nonce in connection.execute(known).scalars().all():
        return
    values = {"hash": found.hash, "command": row.id, "nonce": found.nonce, "raw": b""}
    connection.execute(insert(relay).values(**values, relayed_at=now))


def _undone(
    connection: Connection, row: CommandRow, final: int, now: datetime
) -> CommandRow:
    """Have a command wait whose block was undone: for its bytes, or for its wallet."""
    nonces = signed_nonces(connection, row.id, final)
    ours = any(each.kept and each.live for each in nonces)
    back = State.SIGNED if ours else State.ACCEPTED
    gone = {"height": None} if ours else _NOWHERE
    return move(connection, row, back, now, reason="its block was undone", **gone)


def _not_found(
    connection: Connection, row: CommandRow, final: int, now: datetime
) -> CommandRow:
    if row.state is State.INCLUDED:
        return _undone(connection, row, final, now)
    if row.state is State.SIGNED:
        return _check_lost(connection, row, final, now)
    if row.valid_until is not None and row.valid_until <= now:
        reason = "the wallet did not sign it in time"
        if _carries_id(row):
            reason += "; should it send it still, that is shown here"
        return move(connection, row, State.EXPIRED, now, reason=reason)
    return row


def _check_lost(
    connection: Connection, row: CommandRow, final: int, now: datetime
) -> CommandRow:
    """Have a command wait for its wallet when nothing that it signed can run."""
    kept = [each for each in signed_nonces(connection, row.id, final) if each.kept]
    if any(each.live for each in kept):
        return row
    if not _carries_id(row) and any(not each.used for each in kept):
        # Nothing in its calldata says whether it was these bytes.
        reason = (
            "its nonce was used before it was given to us, perhaps by the same bytes: "
            "look at the wallet's transactions"
        )
        return move(connection, row, State.DROPPED, now, reason=reason)
    reason = "the wallet used its nonce for something else: sign it again"
    return move(connection, row, State.ACCEPTED, now, reason=reason, **_NOWHERE)


def _note_late_outcome(
    connection: Connection, row: CommandRow, final: int, now: datetime
) -> CommandRow:
    """Record the outcome of a call that its wallet sent after the command's end.

    Of several calls one that succeeded is told.
    """
    if State.SUCCEEDED in (row.state, row.late_outcome):
        return row
    values = {"command": row.id, "marker": MARKER.hex(), "final": final}
    found = connection.execute(_LATE, values).first()
    failed_before = bool(row.late_outcome) or row.state is State.REVERTED
    if found is None or (failed_before and not found.succeeded):
        return row
    return tell_late(
        connection, row, bytes(found.hash), height_of(found.position), now,
        succeeded=found.succeeded,
    )  # fmt: skip


def _carries_id(row: CommandRow) -> bool:
    """Whether the command's calldata carries its id."""
    return command_id_of(row.data) == row.id
