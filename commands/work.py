"""Carrying a signer's open nonces forward.

`work` is a generator: it yields between any two steps that a crash could fall
between, so that a test can drop it anywhere; `work_once` runs it to the end. Each
database step is one transaction, and no lock is held while a node or a key is asked.

A pass begins with one question, what is due (`db.commands.outlook`), and touches
nothing else: an open nonce is looked at when its block is final or gone, when its bytes
are to be sent again, or when its command is to be cancelled.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Engine

from commands.errors import NodeAway, SigningHeld, SigningRefused
from commands.fees import Ceiling, Fees, offer, suggested
from commands.node import Answer, Node
from commands.signers import Payload, Signed, Signer
from db.commands.accept import CommandRow
from db.commands.attempts import AttemptRow, attempts_of, note_answer, record_attempt
from db.commands.holding import due_held, hold_command, release
from db.commands.outlook import Outlook, outlook
from db.commands.reconcile import reconcile
from db.commands.resolve import settle_slot
from db.commands.slots import (
    SlotRow,
    claim_slot,
    next_waiting,
    owner_of,
    refuse_slot,
    set_hold,
    take_slot,
)
from db.commands.states import Closing, Hold

log = logging.getLogger(__name__)

TRANSFER_GAS = 21_000
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard a signer tries; prices in wei."""

    chain_id: int
    rebroadcast_after: timedelta = timedelta(seconds=10)
    bump_after: timedelta = timedelta(seconds=30)
    held_again_after: timedelta = timedelta(seconds=60)
    bump_percent: int = 12
    gas_price_max: int = 10**12
    gas_price_min: int = 10**9
    dynamic_fees: bool = False

    @property
    def ceiling(self) -> Ceiling:
        """The bounds of what is offered for gas."""
        return Ceiling(
            self.gas_price_min, self.gas_price_max, self.bump_percent, self.dynamic_fees
        )


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that work on one signer needs."""

    engine: Engine
    signer: Signer
    node: Node
    policy: Policy
    clock: Clock


@dataclass(slots=True)
class Mood:
    """What a pass learned about whether the signer may take more nonces."""

    complaints: list[tuple[Hold, str]] = field(default_factory=list)
    progress: bool = False

    def complain(self, hold: Hold, reason: str) -> None:
        """Note what is in the way."""
        self.complaints.append((hold, reason))


@dataclass(frozen=True, slots=True)
class Task:
    """An open nonce that is due: whose it is, and what was signed for it."""

    slot: SlotRow
    owner: CommandRow | None
    attempts: list[AttemptRow]

    @property
    def purpose(self) -> str:
        """What the next attempt is for."""
        if self.owner is None:
            return "filler"
        closing = self.slot.closing is not Closing.NO or self.owner.state == "closing"
        return "cancel" if closing else "call"


def work_once(desk: Desk) -> int:
    """One pass over a signer's commands; returns how many steps it took."""
    return sum(1 for _ in work(desk))


def work(desk: Desk) -> Iterator[str]:
    """One pass: settle what the index shows, take nonces, sign, send, send again."""
    name = desk.signer.name
    with desk.engine.connect() as connection:
        view = outlook(connection, name, desk.clock())
    yield "looked"
    for nonce in view.settle:
        with desk.engine.begin() as connection:
            settle_slot(connection, name, nonce, desk.clock())
        yield "settled"
    if view.astray:
        with desk.engine.begin() as connection:
            reconcile(connection, name, desk.clock())
        yield "reconciled"
    if view.paused or not view.gate_open:
        return
    mood = Mood()
    if view.held:
        yield from _look_at_held(desk, mood)
    taken: list[int] = []
    if view.waiting and view.room:
        yield from _take(desk, view.room, taken, mood)
    for nonce in sorted({*view.due, *taken}):
        yield from _carry(desk, nonce, mood, lowest=nonce == view.lowest)
    yield from _remember(desk, view, mood)


def _look_at_held(desk: Desk, mood: Mood) -> Iterator[str]:
    """Let held commands go on that their signer refuses no longer."""
    now = desk.clock()
    with desk.engine.connect() as connection:
        held = due_held(connection, desk.signer.name, now)
    for command in held:
        try:
            refusal = _refusal(desk, command)
        except SigningHeld as error:
            mood.complain(error.hold, str(error))
            return
        yield "asked"
        with desk.engine.begin() as connection:
            late = command.valid_until is not None and command.valid_until <= now
            if refusal is None or late:
                release(connection, command.id, now)
            else:
                again = now + desk.policy.held_again_after
                hold_command(connection, command.id, refusal, now, again_at=again)
        yield "looked at"


def _take(desk: Desk, room: int, taken: list[int], mood: Mood) -> Iterator[str]:
    """Take nonces for waiting commands, and put aside what would not be signed."""
    name = desk.signer.name
    while len(taken) < room:
        with desk.engine.connect() as connection:
            command = next_waiting(connection, name)
        if command is None:
            return
        now = desk.clock()
        try:
            refusal = _refusal(desk, command)
        except SigningHeld as error:
            mood.complain(error.hold, str(error))
            return
        yield "asked"
        if refusal is not None:
            again = now + desk.policy.held_again_after
            with desk.engine.begin() as connection:
                hold_command(connection, command.id, refusal, now, again_at=again)
            yield "held"
            continue
        with desk.engine.begin() as connection:
            found = take_slot(connection, name, now)
        yield "taken"
        if found is None:
            return
        taken.append(found[1].nonce)


def _refusal(desk: Desk, command: CommandRow) -> str | None:
    """Why the signer would refuse a command, before it costs a nonce."""
    price = desk.policy.gas_price_min
    payload = _payload(desk, 0, command, Fees(price))
    try:
        desk.signer.permits(payload)
    except SigningRefused as error:
        return str(error)
    return None


def _carry(desk: Desk, nonce: int, mood: Mood, *, lowest: bool) -> Iterator[str]:
    """Sign, replace or send again, whichever an open nonce needs now."""
    task = _claim(desk, nonce)
    yield "claimed"
    if task is None:
        return
    attempts = task.attempts
    if not attempts or _replaces(desk, task, lowest=lowest):
        fees = _fees(desk, attempts, mood)
        signed = None if fees is None else _sign(desk, task, fees, mood)
        yield "signed"
        if signed is not None and fees is not None:
            with desk.engine.begin() as connection:
                attempt = record_attempt(
                    connection,
                    signer=task.slot.signer, nonce=nonce, purpose=task.purpose,
                    raw=signed.raw, hash_=signed.hash, gas_price=fees.gas_price,
                    priority_fee=fees.priority, now=desk.clock(),
                )  # fmt: skip
            yield "recorded"
            if attempt is not None:
                yield from _send(desk, attempt, mood)
            return
        if not attempts:
            return
    best = max(attempts, key=lambda each: each.gas_price)
    yield from _send(desk, best, mood)


def _claim(desk: Desk, nonce: int) -> Task | None:
    now, name = desk.clock(), desk.signer.name
    until = now + desk.policy.rebroadcast_after
    with desk.engine.begin() as connection:
        slot = claim_slot(connection, name, nonce, now, until)
        if slot is None:
            return None
        owner = owner_of(connection, slot, now)
        return Task(slot, owner, attempts_of(connection, name, nonce))


def _replaces(desk: Desk, task: Task, *, lowest: bool) -> bool:
    """A cancel must outbid the call at once; else only the lowest nonce is bumped."""
    last = task.attempts[-1]
    if task.purpose == "cancel" and all(
        each.purpose != "cancel" for each in task.attempts
    ):
        return True
    return lowest and desk.clock() - last.signed_at >= desk.policy.bump_after


def _fees(desk: Desk, attempts: list[AttemptRow], mood: Mood) -> Fees | None:
    """What to offer; a price above the ceiling is held against the signer."""
    ceiling = desk.policy.ceiling
    try:
        wanted = suggested(desk.node, ceiling)
    except NodeAway as error:
        log.warning("price_unknown signer=%s cause=%s", desk.signer.name, error)
        return None
    fees = offer(wanted, attempts, ceiling)
    asked = wanted.gas_price // 2 if ceiling.dynamic else wanted.gas_price
    if fees is None or asked > ceiling.highest:
        mood.complain(
            Hold.CEILING,
            f"gas costs {asked} wei and at most {ceiling.highest} is paid",
        )
    return fees


def _payload(desk: Desk, nonce: int, call: CommandRow | None, fees: Fees) -> Payload:
    return Payload(
        chain_id=desk.policy.chain_id,
        nonce=nonce,
        gas_price=fees.gas_price,
        priority_fee=fees.priority,
        gas=TRANSFER_GAS if call is None else call.gas_limit,
        to=desk.signer.address if call is None else call.target,
        value=0 if call is None else call.value,
        data=b"" if call is None else call.data,
    )


def _sign(desk: Desk, task: Task, fees: Fees, mood: Mood) -> Signed | None:
    """Ask for a signature; a call that is refused gives its nonce up."""
    call = task.owner if task.purpose == "call" else None
    name, nonce = task.slot.signer, task.slot.nonce
    try:
        return desk.signer.sign(_payload(desk, nonce, call, fees))
    except SigningHeld as error:
        log.warning("signing_held signer=%s cause=%s", name, error)
        mood.complain(error.hold, str(error))
    except SigningRefused as error:
        log.error("signing_refused signer=%s nonce=%s cause=%s", name, nonce, error)
        with desk.engine.begin() as connection:
            given_up = refuse_slot(connection, name, nonce, str(error), desk.clock())
        if not given_up and task.purpose != "call":
            mood.complain(Hold.REFUSED, str(error))
    return None


def _send(desk: Desk, attempt: AttemptRow, mood: Mood) -> Iterator[str]:
    """Hand over stored bytes; what the node says is noted and decides nothing."""
    try:
        answer = desk.node.send(attempt.raw)
        if answer.hold:
            mood.complain(answer.hold, f"the node says: {answer.text[:200]}")
        else:
            mood.progress = True
    except NodeAway as error:
        answer = Answer(str(error))
    yield "sent"
    now = desk.clock()
    with desk.engine.begin() as connection:
        note_answer(
            connection, attempt, answer.text, now,
            again_at=now + desk.policy.rebroadcast_after, node_hash=answer.hash,
        )  # fmt: skip
    yield "noted"


def _remember(desk: Desk, view: Outlook, mood: Mood) -> Iterator[str]:
    """Put the signer on hold for what is in the way, or let it go on."""
    name = desk.signer.name
    if mood.complaints:
        hold, reason = mood.complaints[0]
        if hold is not view.hold:
            with desk.engine.begin() as connection:
                set_hold(connection, name, hold, reason)
            log.warning("signer_held signer=%s cause=%s", name, reason)
            yield "put on hold"
    elif view.hold and (mood.progress or not view.in_flight):
        with desk.engine.begin() as connection:
            set_hold(connection, name, Hold.NO)
        log.info("signer_goes_on signer=%s", name)
        yield "taken off hold"
