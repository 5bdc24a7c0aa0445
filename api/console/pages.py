"""Texts about commands and signers for the console's templates."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from api.auth.context import AuthContext
from api.errors import Problem
from commands.arguments import shown_arguments
from commands.errors import NodeAway
from commands.lane import NoLane
from db import reads
from db.commands.accept import CommandRow, find
from db.commands.health import Blocker, SignerHealth, blocker_of, signer_health
from db.commands.listing import (
    CommandEvent,
    SentTransaction,
    events_after,
    list_commands,
    sent_for,
)
from db.commands.spelling import transaction_text
from db.commands.states import TERMINAL, State

PAGE = 25
ENDED_WELL = State.SUCCEEDED


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command in a list."""

    id: str
    kind: str
    state: str
    tone: str  # good, bad or open: the colour of its state
    gist: str
    reason: str
    signer: str
    at: str
    age: str


@dataclass(frozen=True, slots=True)
class CommandPage:
    """A page of commands, with its filter and the cursor of the next."""

    rows: list[CommandLine]
    state: str
    states: list[str]
    next: str | None


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of a command's history."""

    at: str
    state: str
    tone: str
    details: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class CommandView:
    """A command with its history and transactions."""

    row: CommandLine
    arguments: list[tuple[str, str]]
    late_outcome: str  # what became of a call sent after the end
    transaction: str
    height: str
    steps: list[HistoryLine]
    sent: list[SentTransaction]
    blocker: Blocker | None
    releasable: bool
    cancellable: bool


@dataclass(frozen=True, slots=True)
class SignerView:
    """A signer, and how long its oldest nonce has been open."""

    health: SignerHealth
    oldest: str
    tone: str
    balance: str | None  # None: the node does not answer


def command_list(context: AuthContext, asked: Mapping[str, str]) -> CommandPage:
    """Commands, newest first, of one state or of all."""
    state = asked.get("state", "")
    if state and state not in [*State]:
        raise Problem("bad_parameter", f"No state {state!r}. Choose one of the list.")
    before = _uuid(asked["after"]) if "after" in asked else None
    rows = reads.read(
        context.service.engine,
        lambda connection: list_commands(
            connection, states=[State(state)] if state else [], before=before,
            limit=PAGE + 1,
        ),
    )  # fmt: skip
    now = context.now()
    return CommandPage(
        rows=[_row(context, each, now) for each in rows[:PAGE]],
        state=state,
        states=[*State],
        next=str(rows[PAGE - 1].id) if len(rows) > PAGE else None,
    )


def one_command(context: AuthContext, command_id: uuid.UUID) -> CommandView:
    """One command; raises `no_such_command`."""
    row, events, sent, why = reads.read(
        context.service.engine,
        lambda connection: (
            find(connection, command_id),
            events_after(connection, command_id),
            sent_for(connection, command_id),
            blocker_of(connection, command_id),
        ),
    )
    if row is None:
        raise Problem("no_such_command", f"There is no command {command_id}.")
    return CommandView(
        row=_row(context, row, context.now()),
        arguments=_arguments(context, row),
        late_outcome=row.late_outcome,
        transaction=""
        if row.transaction is None
        else transaction_text(row.transaction),
        height="" if row.height is None else str(row.height),
        steps=[_step(each) for each in events],
        sent=sent,
        blocker=why,
        releasable=row.state is State.HELD,
        cancellable=row.state not in TERMINAL,
    )


def signers(context: AuthContext) -> list[SignerView]:
    """Return every signer, those that need attention first."""
    now = context.now()
    found = reads.read(
        context.service.engine, lambda connection: signer_health(connection, now)
    )
    views = [
        SignerView(
            health=each,
            oldest=span(each.oldest_open_seconds) if each.open_slots else "",
            tone="bad" if each.paused else "open" if each.reason else "good",
            balance=_balance(context, each),
        )
        for each in found
    ]
    return sorted(views, key=lambda view: ("bad", "open", "good").index(view.tone))


def _balance(context: AuthContext, signer: SignerHealth) -> str | None:
    """Return a signer's balance as a text; None while no node answers."""
    command_service = context.service.command_service
    if command_service is None:
        return None
    try:
        lane = command_service.lane_of(signer.source)
        amount = lane.balance(signer.key)
    except (NodeAway, NoLane):
        return None
    whole, rest = divmod(amount, 10**lane.decimals)
    shown = rest * 10**4 // 10**lane.decimals
    return f"{whole:,}.{shown:04d} (in units of 1e{lane.decimals} {lane.unit})"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _arguments(context: AuthContext, row: CommandRow) -> list[tuple[str, str]]:
    """Return the arguments of a command as people read them."""
    commands = context.service.registry.commands
    shown = shown_arguments(commands, row.kind, row.arguments)
    return [(name, _text(value)) for name, value in shown.items()]


def _row(context: AuthContext, row: CommandRow, now: datetime) -> CommandLine:
    return CommandLine(
        id=str(row.id),
        kind=row.kind,
        state=row.state,
        tone=_tone(row.state),
        gist=" ".join(f"{name}={v}" for name, v in _arguments(context, row)),
        reason=row.reason,
        signer=row.signer or ("a wallet" if row.sender else "the journal"),
        at=f"{row.created_at:%Y-%m-%d %H:%M:%S}",
        age=span((now - row.created_at).total_seconds()),
    )


def _step(event: CommandEvent) -> HistoryLine:
    return HistoryLine(
        at=f"{event.at:%Y-%m-%d %H:%M:%S}",
        state=event.state,
        tone=_tone(event.state),
        details=[(name, _text(value)) for name, value in event.details.items()],
    )


def _tone(state: State) -> str:
    if state is ENDED_WELL:
        return "good"
    return "bad" if state in TERMINAL or state is State.HELD else "open"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Problem(
            "bad_parameter", "The page begins nowhere. Begin with the first."
        ) from None
