"""Actions of people on commands and signers, each recorded in the journal.

What is done and the entry that says who did it are one transaction.
"""

import uuid
from datetime import datetime

from sqlalchemy import Connection

from commands.errors import CommandError
from db import sources, timers
from db.commands import accept, held, stops
from db.commands.accept import CommandRow
from db.commands.evm import holding, memory
from db.commands.evm.wallets import settle_wallet_command
from db.commands.signers import find_signer, pause
from db.journal.append import Actor, append
from db.journal.audit.entries import ActionTaken
from db.registry import Registry

EVERY = "every signer"


class UnknownSchedule(CommandError):
    """No schedule of that name is declared."""


def cancel_command(
    connection: Connection,
    registry: Registry,
    command_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
) -> CommandRow:
    """Ask for a command's end; raises NotCancellable.

    What a wallet has sent already, as far as the index knows, has ended it before.
    """
    asked = accept.find(connection, command_id)
    if asked is not None and asked.sender is not None:
        final = sources.by_id(connection, asked.source).final
        settle_wallet_command(connection, command_id, final=final, now=now)
    row = accept.cancel(connection, command_id, now)
    _note(connection, registry, "cancel", str(row.id), row.state, actor, now)
    return row


def release_command(
    connection: Connection,
    registry: Registry,
    command_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
) -> CommandRow:
    """Let a held command wait for its turn again."""
    row = held.release(connection, command_id, now)
    _note(connection, registry, "release", str(row.id), row.state, actor, now)
    return row


def stop_signing(
    connection: Connection,
    registry: Registry,
    signer: str | None,
    reason: str,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Have nothing more signed for a signer, or for any: the kill switch."""
    stops.stop_signing(connection, signer or stops.EVERYTHING, reason, now)
    if signer is not None and find_signer(connection, signer) is not None:
        pause(connection, signer, paused=True, reason=reason)
    _note(connection, registry, "stop", signer or EVERY, reason, actor, now)


def allow_signing(
    connection: Connection,
    registry: Registry,
    signer: str | None,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Take a stop back; a signer that halted is let go on by `resume_signer`."""
    stops.allow_signing(connection, signer or stops.EVERYTHING)
    _note(connection, registry, "allow", signer or EVERY, "", actor, now)


def resume_signer(
    connection: Connection,
    registry: Registry,
    name: str,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Let a halted signer go on."""
    holding.resume_signer(connection, name, now)
    _note(connection, registry, "resume", name, "", actor, now)


def go_on_from(
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
    """Have the guard of a key believe that all nonces below one were used."""
    memory.go_on_from(connection, chain, address, nonce)
    _note(connection, registry, "resume", name, f"from nonce {nonce}", actor, now)


def run_schedule(
    connection: Connection,
    registry: Registry,
    name: str,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Ask for a run of a schedule besides its times; raises UnknownSchedule.

    Whoever follows the chains runs it, within a second.
    """
    if name not in registry.schedules:
        known = ", ".join(registry.schedules) or "none"
        raise UnknownSchedule(f"there is no schedule {name!r}; there is {known}")
    timers.request_run(connection, name, actor.name, now)
    _note(connection, registry, "run", name, "asked for", actor, now)


def _note(
    connection: Connection,
    registry: Registry,
    action: str,
    subject: str,
    outcome: str,
    actor: Actor,
    now: datetime,
) -> None:
    entry = ActionTaken(action=action, subject=subject, outcome=outcome)
    append(connection, registry, entry, actor=actor, now=now)
