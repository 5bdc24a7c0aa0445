"""Commands as lists and streams: for the API, the console and the metrics."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from db.commands.accept import CommandRow, as_row
from db.commands.states import TERMINAL, State
from db.control import attempt, command, command_event, relay, slot, solana_attempt


@dataclass(frozen=True, slots=True)
class CommandEvent:
    """One line of a command's history; `id` grows with time."""

    id: int
    at: datetime
    state: State
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A signed transaction of a command, and the node's answer."""

    hash: bytes
    purpose: str
    signed_at: datetime
    gas_price: int | None  # in wei; None: the wallet chose it, or on Solana
    sent_count: int
    answer: str


@dataclass(frozen=True, slots=True)
class CommandCount:
    """The number of commands of a kind in a state."""

    state: State
    kind: str
    count: int


def count_commands(connection: Connection) -> list[CommandCount]:
    """Commands by state and kind."""
    query = select(command.c.state, command.c.kind, func.count()).group_by(
        command.c.state, command.c.kind
    )
    return [
        CommandCount(State(state), kind, count)
        for state, kind, count in connection.execute(query)
    ]


def count_executed_late(connection: Connection) -> int:
    """Count the commands that were executed after they had ended without success."""
    query = (
        select(func.count()).select_from(command).where(command.c.late_outcome != "")
    )
    return int(connection.execute(query).scalar_one())


def list_commands(
    connection: Connection,
    *,
    tenant: str | None = None,
    states: Sequence[State] = (),
    kind: str | None = None,
    signer: str | None = None,
    before: uuid.UUID | None = None,
    limit: int = 20,
) -> list[CommandRow]:
    """Commands, newest first; `before` is the last one of the page before."""
    query = select(command).order_by(command.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(command.c.tenant == tenant)
    if states:
        query = query.where(command.c.state.in_(states))
    if kind is not None:
        query = query.where(command.c.kind == kind)
    if signer is not None:
        query = query.where(command.c.signer == signer)
    if before is not None:
        query = query.where(command.c.id < before)
    return [as_row(row) for row in connection.execute(query)]


def open_arguments(
    connection: Connection, kind: str, source: int
) -> list[dict[str, Any]]:
    """The arguments of all commands of a kind on a chain that have not ended."""
    query = select(command.c.arguments).where(
        command.c.kind == kind,
        command.c.source == source,
        command.c.state.not_in(TERMINAL),
    )
    return list(connection.execute(query).scalars())


def events_after(
    connection: Connection, command_id: uuid.UUID, after: int = 0
) -> list[CommandEvent]:
    """A command's history after one of its events, in order."""
    query = (
        select(command_event)
        .where(command_event.c.command == command_id, command_event.c.id > after)
        .order_by(command_event.c.id)
    )
    return [
        CommandEvent(row.id, row.at, State(row.state), row.details)
        for row in connection.execute(query)
    ]


def sent_for(connection: Connection, command_id: uuid.UUID) -> list[SentTransaction]:
    """Every transaction that was signed for a command, in order."""
    on_solana = (
        select(
            solana_attempt.c.signature, solana_attempt.c.signed_at,
            solana_attempt.c.sent_count, solana_attempt.c.answer,
        )
        .where(solana_attempt.c.command == command_id)
        .order_by(solana_attempt.c.number)
    )  # fmt: skip
    ours = (
        select(
            attempt.c.hash, attempt.c.purpose, attempt.c.signed_at,
            attempt.c.gas_price, attempt.c.sent_count, attempt.c.answer,
        )
        .join(
            slot,
            (slot.c.signer == attempt.c.signer) & (slot.c.nonce == attempt.c.nonce),
        )
        .where(slot.c.command == command_id)
        .order_by(attempt.c.signed_at, attempt.c.number)
    )  # fmt: skip
    theirs = (
        select(relay.c.hash, relay.c.relayed_at, relay.c.sent_count, relay.c.answer)
        .where(relay.c.command == command_id)
        .order_by(relay.c.relayed_at)
    )
    found = [
        SentTransaction(bytes(h), purpose, at, int(price), count, answer)
        for h, purpose, at, price, count, answer in connection.execute(ours)
    ]
    found += [
        SentTransaction(bytes(h), "call", at, None, count, answer)
        for h, at, count, answer in (
            *connection.execute(theirs),
            *connection.execute(on_solana),
        )
    ]
    return found
