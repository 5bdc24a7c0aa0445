"""The wallets of clients that the indexer watches, on chains of any kind.

A wallet is watched while a command waits for it, and for a while after one ended
without success: we cannot stop a wallet from sending what it was asked to sign.
"""

import uuid
from datetime import datetime

from sqlalchemy import Connection, delete, text
from sqlalchemy.dialects.postgresql import BYTEA

from db.control import wallet_watch

WATCHED_MOST = 10_000
EVM_BYTES = 20
AFTERWARDS_MOST = 1_000  # of those, wallets for which nothing waits any more
RELAY = "relay"  # the kind of what was relayed and not asked for

# Only on EVM chains: what a wallet of Solana does with a program is listed by that one.
# Those that are waited for come first, the longest waiting before the others; then
# those whose command ended last, of which the most may still come.
_WATCHED = text(
    """
    WITH waiting AS (
        SELECT sender, min(seen_from) AS first, min(created_at) AS since
        FROM control.command
        WHERE source = :source AND octet_length(sender) = :size
            AND next_action_at IS NOT NULL
        GROUP BY sender ORDER BY since, sender LIMIT :most
    ), afterwards AS (
        SELECT sender, seen_from AS first FROM control.wallet_watch
        WHERE source = :source AND octet_length(sender) = :size
        ORDER BY ended_at DESC, sender
        LIMIT least(:afterwards, :most - (SELECT count(*) FROM waiting))
    )
    SELECT sender, min(first) AS first
    FROM (SELECT sender, first FROM waiting UNION ALL TABLE afterwards) AS w
    GROUP BY sender
    """
).columns(sender=BYTEA)
# What was only relayed is known by its nonce: once that is used it cannot run again.
_WATCH_ON = text(
    """
    INSERT INTO control.wallet_watch AS w (source, sender, seen_from, ended_at)
    SELECT source, sender, seen_from, :now FROM control.command
    WHERE id = :command AND sender IS NOT NULL AND kind <> :relay
    ON CONFLICT (source, sender) DO UPDATE SET
        seen_from = least(w.seen_from, excluded.seen_from),
        ended_at = greatest(w.ended_at, excluded.ended_at)
    """
)


def watched(connection: Connection, source: int) -> dict[bytes, int]:
    """The wallets whose transactions are read, each with its first block."""
    rows = connection.execute(
        _WATCHED,
        {
            "source": source, "size": EVM_BYTES, "most": WATCHED_MOST,
            "afterwards": AFTERWARDS_MOST,
        },
    )  # fmt: skip
    return {bytes(sender): first for sender, first in rows}


def watch_on(connection: Connection, command_id: uuid.UUID, now: datetime) -> None:
    """Go on watching the wallet of a command that has just ended without success."""
    connection.execute(_WATCH_ON, {"command": command_id, "now": now, "relay": RELAY})


def watch_no_more(connection: Connection, source: int, before: datetime) -> None:
    """Let go of wallets whose last command ended before a time."""
    connection.execute(
        delete(wallet_watch).where(
            wallet_watch.c.source == source, wallet_watch.c.ended_at < before
        )
    )
