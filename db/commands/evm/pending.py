"""One query that returns everything a signer's worker must do now."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from db.commands.states import FAR_NONCES, Hold

# `o` are the open nonces, each with the indexed transaction that consumed it, if any.
_PENDING = text(
    """
    WITH g AS (
        SELECT g.*, src.final, control.sender_reach(g.source, g.address) AS reach
        FROM control.signer g JOIN control.source src ON src.id = g.source
        WHERE g.name = :name
    ), o AS (
        SELECT s.nonce, s.next_action_at, c.state, t.position >> 32 AS height,
            t.succeeded,
            CASE WHEN c.id IS NULL THEN t.data <> ''
                ELSE t.data = c.data AND t.recipient = c.target END AS is_call
        FROM g JOIN control.slot s ON s.signer = g.name AND s.open
        LEFT JOIN control.command c ON c.id = s.command
        LEFT JOIN control.sender_transaction t
            ON t.source = g.source AND t.sender = g.address AND t.nonce = s.nonce
    )
    SELECT g.paused, g.hold, g.max_in_flight, g.reach,
        coalesce(g.reach >= g.gate_height, false) AS gate_open,
        (SELECT count(*) FROM o) AS in_flight,
        (SELECT min(nonce) FROM o WHERE height IS NULL) AS lowest,
        ARRAY(
            SELECT nonce FROM o
            WHERE height <= (SELECT final FROM g)
                OR (height IS NULL AND state = 'included')
                OR (is_call AND state IS DISTINCT FROM 'included')
            ORDER BY nonce
        ) AS settle,
        ARRAY(
            SELECT nonce FROM o
            WHERE NOT succeeded AND height <= (SELECT final FROM g)
        ) AS failed,
        ARRAY(
            SELECT nonce FROM o WHERE height IS NULL AND next_action_at <= :now
            ORDER BY nonce
        ) AS due,
        EXISTS (
            SELECT FROM control.command c
            WHERE c.signer = g.name AND c.state = 'accepted'
        ) AS waiting,
        EXISTS (
            SELECT FROM control.command c
            WHERE c.signer = g.name AND c.state = 'held' AND c.next_action_at <= :now
        ) AS held,
        g.next_nonce - g.checked_nonce > 2 * g.max_in_flight + 64
        OR coalesce(g.next_nonce > control.known_nonce(g.name) + :far, false)
        OR EXISTS (
            SELECT FROM control.sender_transaction t
            WHERE t.source = g.source AND t.sender = g.address
                AND t.nonce >= g.checked_nonce
                AND NOT EXISTS (SELECT FROM control.slot s
                    WHERE s.signer = g.name AND s.nonce = t.nonce)
        )
        OR EXISTS (
            SELECT FROM generate_series(
                g.checked_nonce, least(g.next_nonce, g.checked_nonce + 1024) - 1) n
            WHERE NOT EXISTS (SELECT FROM control.slot s
                    WHERE s.signer = g.name AND s.nonce = n)
                AND NOT EXISTS (SELECT FROM control.sender_transaction t
                    WHERE t.source = g.source AND t.sender = g.address
                        AND t.nonce = n)
        )
        OR EXISTS (
            SELECT FROM control.slot s
            WHERE s.signer = g.name AND NOT s.open AND s.height <= g.reach
                AND s.nonce >= g.checked_nonce - 64
                AND NOT EXISTS (SELECT FROM control.sender_transaction t
                    WHERE t.source = g.source AND t.hash = s.hash)
        )
        OR EXISTS (
            SELECT FROM control.incident i
            WHERE i.source = g.source AND i.resolved_at IS NULL
        ) AS astray
    FROM g
    """
)


@dataclass(frozen=True, slots=True)
class PendingWork:
    """A signer's nonces by the action due; `astray`: compare rows with the chain.

    `lowest` is the first nonce that no indexed transaction consumed: only its fee is
    worth raising. Of those that are `failed` the call reverted in a final block.
    `reach` is the last block that the index has of the signer.
    """

    paused: bool
    hold: Hold
    gate_open: bool
    in_flight: int
    room: int
    lowest: int | None
    settle: list[int]
    failed: list[int]
    due: list[int]
    waiting: bool
    held: bool
    astray: bool
    reach: int | None


def pending_work(connection: Connection, name: str, now: datetime) -> PendingWork:
    """Return a signer's due work."""
    row = connection.execute(
        _PENDING, {"name": name, "now": now, "far": FAR_NONCES}
    ).one()
    budget = row.max_in_flight if not row.hold else 1
    return PendingWork(
        paused=row.paused,
        hold=Hold(row.hold),
        gate_open=row.gate_open,
        in_flight=row.in_flight,
        room=max(0, budget - row.in_flight),
        lowest=row.lowest,
        settle=list(row.settle),
        failed=list(row.failed),
        due=list(row.due),
        waiting=row.waiting,
        held=row.held,
        astray=row.astray,
        reach=row.reach,
    )
