"""Set the nonce from which a key may sign."""

from datetime import datetime

from sqlalchemy import Connection

from commands.actions import note_action
from db.commands.evm import memory
from db.journal.append import Actor
from db.registry import Registry


def sign_from(
    connection: Connection,
    registry: Registry,
    name: str,
    chain: int,
    address: bytes,
    nonce: int,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Record an operator's statement that all nonces below one are used."""
    memory.sign_from(connection, chain, address, nonce)
    outcome = f"from nonce {nonce}"
    note_action(connection, registry, "resume", name, outcome, actor, now)
