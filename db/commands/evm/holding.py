"""Resume halted signers: what they were halted for is known from then on."""

from datetime import datetime

from sqlalchemy import Connection, text, update

from db.commands.evm.tags import MARKER
from db.commands.signers import lock_signer
from db.commands.states import FAR_NONCES
from db.control import slot

# What a person has seen is not alarming again: a transaction for a command that nobody
# knows, or that had ended, gets a slot that is resolved already. Without an id that is
# one that does what was asked for and is told as not done; see `matching`.
_SEEN = text(
    """
    INSERT INTO control.slot (signer, nonce, open, resolution, taken_at,
        next_action_at, hash, height)
    SELECT g.name, t.nonce, false, 'foreign', :now, :now, t.hash, t.position >> 32
    FROM control.signer g JOIN control.sender_transaction t
        ON t.source = g.source AND t.sender = g.address AND t.nonce >= g.checked_nonce
    WHERE g.name = :name AND CASE
        WHEN right(encode(t.data, 'hex'), 32) = :marker
        THEN NOT EXISTS (SELECT FROM control.command c
            WHERE c.id = cast(left(right(encode(t.data, 'hex'), 64), 32) AS uuid)
                AND c.next_action_at IS NOT NULL)
        ELSE (SELECT bool_and(c.next_action_at IS NULL) FROM control.command c
            WHERE c.signer = g.name AND c.target = t.recipient AND c.value = t.value
                AND c.data = t.data AND c.seen_from < t.position >> 32
                AND c.state NOT IN ('succeeded', 'reverted'))
        END
    ON CONFLICT DO NOTHING
    """
)
# Nor is a slot whose transaction is gone: it no longer names a block.
_GONE = text(
    """
    UPDATE control.slot s SET height = NULL FROM control.signer g
    WHERE g.name = :name AND s.signer = g.name AND NOT s.open
        AND s.nonce >= g.checked_nonce - 64
        AND NOT EXISTS (SELECT FROM control.sender_transaction t
            WHERE t.source = g.source AND t.hash = s.hash)
    """
)
# A nonce that no slot and no transaction is near was only told by a node.
_NO_FAR_NONCE = text(
    """
    UPDATE control.signer g SET next_nonce = k.known,
        first_nonce = least(first_nonce, k.known),
        checked_nonce = least(checked_nonce, k.known)
    FROM (SELECT control.known_nonce(:name) AS known) k
    WHERE g.name = :name AND g.next_nonce > k.known + :far
    """
)
_GO_ON = text(
    """
    UPDATE control.signer g SET paused = false, reason = '', hold = '',
        hold_reason = '', next_nonce = greatest(next_nonce, (SELECT max(s.nonce) + 1
            FROM control.slot s WHERE s.signer = g.name))
    WHERE g.name = :name
    """
)


def resume_signer(connection: Connection, name: str, now: datetime) -> None:
    """Let a halted signer sign again; it does not halt for the same causes.

    Every one of its slots is due at once.
    """
    if lock_signer(connection, name).paused:  # else there was nothing to be seen
        marker = MARKER.hex()
        connection.execute(_SEEN, {"name": name, "now": now, "marker": marker})
        connection.execute(_GONE, {"name": name})
    connection.execute(
        update(slot)
        .where(slot.c.signer == name, slot.c.open)
        .values(next_action_at=now)
    )
    connection.execute(_NO_FAR_NONCE, {"name": name, "far": FAR_NONCES})
    connection.execute(_GO_ON, {"name": name})
