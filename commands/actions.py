"""Actions of people on commands and signers, each recorded in the journal.

An action and the journal entry that names its author are one transaction.
"""

import uuid
from datetime import datetime

from sqlalchemy import Connection

from commands.errors import CommandError
from commands.kinds import kind_of
from db import timers
from db.commands import held, stops
from db.commands.accept import CommandRow, find
from db.commands.signers import find_signer, pause
from db.journal.append import Actor, append
from db.journal.audit.entries import ActionTaken
from db.registry import Registry

EVERY = "every signer"


class UnknownCommand(CommandError):
    """There is no command of that id."""


class UnknownSigner(CommandError):
    """No signer of that name has ever been at work on this database."""


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
    """Ask for a command's end; raises NotCancellable."""
    asked = find(connection, command_id)
    if asked is None:
        raise UnknownCommand(f"there is no command {command_id}")
    row = kind_of(connection, asked.source).cancel(connection, command_id, now)
    note_action(connection, registry, "cancel", str(row.id), row.state, actor, now)
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
    note_action(connection, registry, "release", str(row.id), row.state, actor, now)
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
    note_action(connection, registry, "stop", signer or EVERY, reason, actor, now)


def allow_signing(
    connection: Connection,
    registry: Registry,
    signer: str | None,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Revoke a stop; `resume_signer` resumes a signer that halted."""
    stops.allow_signing(connection, signer or stops.EVERYTHING)
    note_action(connection, registry, "allow", signer or EVERY, "", actor, now)


def resume_signer(
    connection: Connection,
    registry: Registry,
    name: str,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Let a halted signer sign again; raises UnknownSigner."""
    found = find_signer(connection, name)
    if found is None:
        raise UnknownSigner(f"there is no signer {name}; look at the list of signers")
    kind_of(connection, found.source).resume_signer(connection, name, now)
    note_action(connection, registry, "resume", name, "", actor, now)


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
    note_action(connection, registry, "run", name, "asked for", actor, now)


def note_action(
    connection: Connection,
    registry: Registry,
    action: str,
    subject: str,
    outcome: str,
    actor: Actor,
    now: datetime,
) -> None:
    """Record an action of a person in the journal, in the same transaction."""
    entry = ActionTaken(action=action, subject=subject, outcome=outcome)
    append(connection, registry, entry, actor=actor, now=now)
