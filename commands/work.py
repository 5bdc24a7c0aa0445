"""Carrying a signer's open nonces forward.

`work` is a generator: it yields between any two steps that a crash could fall
between, so that a test can drop it anywhere; `work_once` runs it to the end. Each
database step is one transaction, and no lock is held while a node or a key is asked.

A pass begins with one question, what is due (`db.commands.outlook`), and touches
nothing else: an open nonce is looked at when its block is final or gone, when its bytes
are to be sent again, or when its command is to be cancelled.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from commands.desk import Desk, Mood, Policy, payload
from commands.errors import (
    NodeAway,
    Refused,
    SigningHeld,
    SigningRefused,
    WrongChain,
)
from commands.fees import Fees, asks_more, offer, suggested, with_margin
from commands.node import Answer
from commands.reasons import why_failed
from commands.signers import Signed
from commands.taking import look_at_held, take
from db.commands.accept import CommandRow
from db.commands.attempts import AttemptRow, attempts_of, note_answer, record_attempt
from db.commands.failures import failed_slot
from db.commands.outlook import Outlook, outlook
from db.commands.reconcile import reconcile
from db.commands.resolve import settle_slot
from db.commands.slots import (
    SlotRow,
    cheapest_waiting,
    claim_slot,
    owner_of,
    refuse_slot,
    set_hold,
)
from db.commands.states import Closing, Hold

__all__ = ["Desk", "Policy", "work", "work_once"]

log = logging.getLogger(__name__)


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

    @property
    def outbids(self) -> bool:
        """Whether the next attempt is the first to cancel a call that was signed."""
        if self.purpose != "cancel":
            return False
        return all(each.purpose != "cancel" for each in self.attempts)


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
        why = ""
        if nonce in view.failed:
            why = _why_failed(desk, nonce)
            yield "asked why"
        with desk.engine.begin() as connection:
            settle_slot(connection, name, nonce, desk.clock(), why=why)
        yield "settled"
    if view.astray:
        with desk.engine.begin() as connection:
            reconcile(connection, name, desk.clock())
        yield "reconciled"
    if view.paused or not view.gate_open:
        return
    mood = Mood()
    if view.held:
        yield from look_at_held(desk, mood)
    for nonce in view.due:
        yield from _carry(desk, nonce, mood, view)
    if view.waiting and view.room:
        yield from take(
            desk, view.room, mood, lambda nonce: _carry(desk, nonce, mood, view)
        )
    yield from _remember(desk, view, mood)


def _why_failed(desk: Desk, nonce: int) -> str:
    """Why the call of a nonce failed in its block; it is asked for once, when final."""
    with desk.engine.connect() as connection:
        call = failed_slot(connection, desk.signer.name, nonce)
    return "" if call is None else why_failed(desk.node, call)


def _carry(desk: Desk, nonce: int, mood: Mood, view: Outlook) -> Iterator[str]:
    """Sign, replace or send again, whichever an open nonce needs now."""
    task = _claim(desk, nonce)
    yield "claimed"
    if task is None:
        return
    attempts = task.attempts
    if not attempts or _replaces(desk, task, view):
        fees = _fees(desk, task, mood)
        gas = None if fees is None or attempts else _gas(desk, task)
        yield "priced"
        signed = None if fees is None else _sign(desk, task, fees, gas, mood)
        yield "signed"
        if signed is not None and fees is not None:
            with desk.engine.begin() as connection:
                attempt = record_attempt(
                    connection,
                    signer=task.slot.signer, nonce=nonce, purpose=task.purpose,
                    raw=signed.raw, hash_=signed.hash, gas_price=fees.gas_price,
                    priority_fee=fees.priority, gas=gas, reach=view.reach,
                    now=desk.clock(),
                )  # fmt: skip
            yield "recorded"
            if attempt is not None:
                yield from _send(desk, attempt, mood, view)
            return
        if not attempts:
            return
    best = max(attempts, key=lambda each: each.gas_price)
    yield from _send(desk, best, mood, view)


def _claim(desk: Desk, nonce: int) -> Task | None:
    now, name = desk.clock(), desk.signer.name
    until = now + desk.policy.rebroadcast_after
    with desk.engine.begin() as connection:
        slot = claim_slot(connection, name, nonce, now, until)
        if slot is None:
            return None
        owner = owner_of(connection, slot, now)
        return Task(slot, owner, attempts_of(connection, name, nonce))


def _replaces(desk: Desk, task: Task, view: Outlook) -> bool:
    """Whether a replacement may be due: if so, the node's price decides.

    A cancel must outbid the call at once. Else only the lowest nonce is bumped, and
    only when the index has had blocks since that did not take it: while no block is
    made, no price helps.
    """
    if task.outbids:
        return True
    last = task.attempts[-1]
    passed = last.reach is None or (view.reach or -1) > last.reach
    old = desk.clock() - last.signed_at >= desk.policy.bump_after
    return task.slot.nonce == view.lowest and passed and old


def _fees(desk: Desk, task: Task, mood: Mood) -> Fees | None:
    """What to offer; a price above the ceiling is held against the signer.

    None: nothing, or nothing more than before, for the node suggests no more.
    """
    ceiling = desk.policy.ceiling
    try:
        wanted = suggested(desk.node, ceiling)
    except WrongChain as error:
        mood.complain(Hold.OTHER_CHAIN, str(error))
        return None
    except NodeAway as error:
        log.warning("price_unknown signer=%s cause=%s", desk.signer.name, error)
        return None
    asked = ceiling.asked(wanted)
    if asked > ceiling.highest:
        mood.complain(
            Hold.CEILING,
            f"gas costs {asked} wei and at most {ceiling.highest} is paid",
        )
    bumps = task.attempts and not task.outbids
    if bumps and not asks_more(wanted, task.attempts, ceiling):
        return None
    return offer(wanted, task.attempts, ceiling, outbid=task.outbids)


def _gas(desk: Desk, task: Task) -> int | None:
    """The limit for a call about to be signed, estimated anew; None: as it was.

    The state may have changed since the command was taken. An estimate that fails now
    decides nothing: calls with lower nonces may have to run before.
    """
    call = task.owner if task.purpose == "call" else None
    if call is None:
        return None
    try:
        used = desk.node.simulate(
            desk.signer.address, call.target, call.value, call.data
        )
    except (NodeAway, Refused):
        return None
    return max(call.gas_limit, with_margin(used))


def _sign(
    desk: Desk, task: Task, fees: Fees, gas: int | None, mood: Mood
) -> Signed | None:
    """Ask for a signature; a call that is refused gives its nonce up."""
    call = task.owner if task.purpose == "call" else None
    name, nonce = task.slot.signer, task.slot.nonce
    try:
        return desk.signer.sign(payload(desk, nonce, call, fees, gas))
    except SigningHeld as error:
        log.warning("signing_held signer=%s cause=%s", name, error)
        hinders = error.hold is Hold.BUDGET and call and _hinders(desk, call)
        if not (hinders and _give_up(desk, task, str(error))):
            mood.complain(error.hold, str(error))
    except SigningRefused as error:
        log.error("signing_refused signer=%s nonce=%s cause=%s", name, nonce, error)
        if not _give_up(desk, task, str(error)) and task.purpose != "call":
            mood.complain(Hold.REFUSED, str(error))
    return None


def _hinders(desk: Desk, call: CommandRow) -> bool:
    """Whether a call that is too dear for today is in the way of a smaller one."""
    with desk.engine.connect() as connection:
        other = cheapest_waiting(connection, desk.signer.name)
    return other is not None and other.gas_limit < call.gas_limit


def _give_up(desk: Desk, task: Task, reason: str) -> bool:
    """Have a nonce used up by nothing whose call is not signed; whether it may be."""
    name, nonce = task.slot.signer, task.slot.nonce
    with desk.engine.begin() as connection:
        return refuse_slot(connection, name, nonce, reason, desk.clock())


def _send(desk: Desk, attempt: AttemptRow, mood: Mood, view: Outlook) -> Iterator[str]:
    """Hand over stored bytes; what the node says is noted and decides nothing."""
    refused: bool | None = None
    try:
        answer = desk.node.send(attempt.raw)
        refused = answer.refused
        mood.accepted = mood.accepted or answer.accepted
        often = attempt.refusals + 1 >= desk.policy.refusals_most
        if answer.hold:
            mood.complain(answer.hold, f"the node says: {answer.text[:200]}")
        elif refused and often and attempt.nonce == view.lowest:
            mood.complain(
                Hold.UNWANTED,
                f"the node does not take nonce {attempt.nonce}: {answer.text[:200]}",
            )
    except NodeAway as error:
        answer = Answer(str(error))
        if isinstance(error, WrongChain):
            mood.complain(Hold.OTHER_CHAIN, str(error))
    yield "sent"
    now = desk.clock()
    with desk.engine.begin() as connection:
        note_answer(
            connection, attempt, answer.text, now,
            again_at=now + desk.policy.rebroadcast_after, node_hash=answer.hash,
            refused=refused,
        )  # fmt: skip
    yield "noted"


def _remember(desk: Desk, view: Outlook, mood: Mood) -> Iterator[str]:
    """Put the signer on hold for what is in the way, or let it go on.

    It goes on when a node has taken bytes, or when nothing is open any more; that a
    node answered something else ends no hold.
    """
    name = desk.signer.name
    if mood.complaints:
        hold, reason = mood.complaints[0]
        known = view.hold and hold is Hold.UNWANTED  # what it waits for says more
        if hold is not view.hold and not known:
            with desk.engine.begin() as connection:
                set_hold(connection, name, hold, reason)
            log.warning("signer_held signer=%s cause=%s", name, reason)
            yield "put on hold"
    elif view.hold and (mood.accepted or not view.in_flight):
        with desk.engine.begin() as connection:
            set_hold(connection, name, Hold.NO)
        log.info("signer_goes_on signer=%s", name)
        yield "taken off hold"
