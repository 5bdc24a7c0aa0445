"""The state of signers, and the reason and remedy of a command that is not done."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from db.commands.accept import CommandRow, find
from db.commands.spelling import KEY_BYTES, address_text
from db.commands.states import REMEDIES, TERMINAL, Hold, State

_HEALTH = text(
    """
    SELECT g.name, g.source, encode(g.address, 'hex') AS address, g.next_nonce,
        g.paused, g.reason, g.hold, g.hold_reason, g.max_in_flight,
        o.open_slots, coalesce(o.oldest, 0) AS oldest_open_seconds,
        coalesce(a.attempts, 0) AS attempts, coalesce(a.bumps, 0) AS bumps,
        w.waiting, coalesce(w.oldest, 0) AS oldest_waiting_seconds, h.held
    FROM control.signer g
    CROSS JOIN LATERAL (
        SELECT count(*) AS open_slots,
            extract(epoch FROM cast(:now AS timestamptz) - min(s.taken_at)) AS oldest
        FROM control.slot s WHERE s.signer = g.name AND s.open
    ) o
    CROSS JOIN LATERAL (
        SELECT count(*) AS attempts, count(*) FILTER (WHERE a.number > 1) AS bumps
        FROM control.slot s JOIN control.attempt a
            ON a.signer = s.signer AND a.nonce = s.nonce
        WHERE s.signer = g.name AND s.open
    ) a
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting,
            extract(epoch FROM cast(:now AS timestamptz) - min(c.created_at)) AS oldest
        FROM control.command c WHERE c.signer = g.name AND c.state = 'accepted'
    ) w
    CROSS JOIN LATERAL (
        SELECT count(*) AS held FROM control.command c
        WHERE c.signer = g.name AND c.state = 'held'
    ) h
    ORDER BY g.name
    """
)


@dataclass(frozen=True, slots=True)
class SignerHealth:
    """One signer as metrics and people see it; `attempts` are of its open slots."""

    name: str
    source: int
    address: str
    key: bytes  # the address as it is
    next_nonce: int
    open_slots: int
    oldest_open_seconds: float
    attempts: int
    bumps: int
    waiting: int
    oldest_waiting_seconds: float
    held: int
    paused: bool
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Blocker:
    """The reason why a command is not done, and what a person may do about it."""

    reason: str
    remedy: str


def signer_health(connection: Connection, now: datetime) -> list[SignerHealth]:
    """Every signer, by name; the stuck detector is its `oldest_open_seconds`."""
    found = []
    for row in connection.execute(_HEALTH, {"now": now}):
        reason, remedy = _why(row.paused, row.reason, Hold(row.hold), row.hold_reason)
        key = bytes.fromhex(row.address)
        found.append(
            SignerHealth(
                row.name, row.source, address_text(key), key, row.next_nonce,
                row.open_slots, float(row.oldest_open_seconds), row.attempts, row.bumps,
                row.waiting,
                float(row.oldest_waiting_seconds), row.held, row.paused, reason, remedy,
            )
        )  # fmt: skip
    return found


def blocker_of(connection: Connection, command_id: uuid.UUID) -> Blocker | None:
    """Return why a command is not done; None when it is done, or unknown."""
    row = find(connection, command_id)
    if row is None or row.state in TERMINAL:
        return None
    if row.state is State.HELD:
        return Blocker(row.reason, f"run `chainfold command release {command_id}`")
    if row.state is State.INCLUDED:
        return Blocker("its block is not final yet", "wait")
    if row.sender is not None:
        return _of_wallet(row)
    signer = connection.execute(
        text(
            "SELECT paused, reason, hold, hold_reason FROM control.signer"
            " WHERE name = :name"
        ),
        {"name": row.signer},
    ).first()
    if signer is not None and (signer.paused or signer.hold):
        hold = Hold(signer.hold)
        return Blocker(*_why(signer.paused, signer.reason, hold, signer.hold_reason))
    reason = {
        State.ACCEPTED: "it waits for its turn",
        State.CLOSING: row.reason or "its nonce is being used up",
    }.get(row.state, "it was handed to a node, and no indexed block has it yet")
    return Blocker(reason, "wait, or see that `chainfold work` and `index` run")


def _of_wallet(row: CommandRow) -> Blocker:
    if row.state is State.ACCEPTED:
        return Blocker(
            row.reason or "its wallet has not signed it",
            "have the wallet sign it, or cancel it",
        )
    reason = "its wallet signed it, and no indexed block has it yet"
    if row.sender is not None and len(row.sender) == KEY_BYTES:
        return Blocker(row.reason or reason, "wait: it lands within minutes, or never")
    return Blocker(
        reason,
        "wait; where the chain's nodes let a wallet replace what they hold (Polygon "
        "Edge up to 0.9 does not), sign it again with its nonce and a higher price",
    )


def _why(paused: bool, reason: str, hold: Hold, detail: str) -> tuple[str, str]:
    if paused:
        return reason, "read the reason, then run `chainfold sign resume`"
    return (detail, REMEDIES[hold]) if hold else ("", "")
