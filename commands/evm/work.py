"""Carrying a signer's open nonces forward.

`work` is a generator: it yields between any two steps that a crash could fall
between, so that a test can drop it anywhere; `work_once` runs it to the end. Each
database step is one transaction, and no lock is held while a node or a key is asked.

A pass begins with one question, what is due (`db.commands.evm.pending`), and touches
nothing else: an open nonce is looked at when its block is final or gone, when its bytes
are to be sent again, or when its command is to be cancelled.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from commands.errors import (
    NodeAway,
    NodeOfOtherChain,
    Refused,
    SigningHeld,
    SigningRefused,
)
from commands.evm.context import (
    SignerContext,
    SigningPolicy,
    payload,
)
from commands.evm.fees import Fees, asks_more, offer, suggested, with_margin
from commands.evm.node import Answer
from commands.evm.reasons import why_failed
from commands.evm.signers import SignedBytes
from commands.evm.taking import look_at_held, take
from commands.holds import HoldReasons
from db.commands.accept import CommandRow
from db.commands.evm.attempts import (
    AttemptRow,
    attempts_of,
    note_answer,
    record_attempt,
)
from db.commands.evm.failures import failed_slot
from db.commands.evm.pending import PendingWork, pending_work
from db.commands.evm.reconcile import reconcile
from db.commands.evm.resolve import settle_slot
from db.commands.evm.slots import (
    SlotRow,
    cheapest_waiting,
    claim_slot,
    owner_of,
    refuse_slot,
)
from db.commands.signers import set_hold
from db.commands.states import Closing, Hold

__all__ = ["SignerContext", "SigningPolicy", "work", "work_once"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """An open nonce that is due, with its command and attempts."""

    slot: SlotRow
    owner: CommandRow | None
    attempts: list[AttemptRow]

    @property
    def purpose(self) -> str:
        """The purpose of the next attempt: a call, a cancel or a filler."""
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


def work_once(context: SignerContext) -> int:
    """One pass over a signer's commands; returns how many steps it took."""
    return sum(1 for _ in work(context))


def work(context: SignerContext) -> Iterator[str]:
    """One pass: settle what the index shows, take nonces, sign, send, send again."""
    name = context.signer.name
    with context.engine.connect() as connection:
        view = pending_work(connection, name, context.clock())
    yield "looked"
    for nonce in view.settle:
        why = ""
        if nonce in view.failed:
            why = _why_failed(context, nonce)
            yield "asked why"
        with context.engine.begin() as connection:
            settle_slot(connection, name, nonce, context.clock(), why=why)
        yield "settled"
    if view.astray:
        with context.engine.begin() as connection:
            reconcile(connection, name, context.clock())
        yield "reconciled"
    if view.paused or not view.gate_open:
        return
    holds = HoldReasons()
    if view.held:
        yield from look_at_held(context, holds)
    for nonce in view.due:
        yield from _carry(context, nonce, holds, view)
    if view.waiting and view.room:
        yield from take(
            context, view.room, holds, lambda nonce: _carry(context, nonce, holds, view)
        )
    yield from _remember(context, view, holds)


def _why_failed(context: SignerContext, nonce: int) -> str:
    """Find why the call of a nonce failed in its block; asked for once, when final."""
    with context.engine.connect() as connection:
        call = failed_slot(connection, context.signer.name, nonce)
    return "" if call is None else why_failed(context.node, call)


def _carry(
    context: SignerContext, nonce: int, holds: HoldReasons, view: PendingWork
) -> Iterator[str]:
    """Sign, replace or send again, whichever an open nonce needs now."""
    task = _claim(context, nonce)
    yield "claimed"
    if task is None:
        return
    attempts = task.attempts
    if not attempts or _replaces(context, task, view):
        fees = _fees(context, task, holds)
        gas = None if fees is None or attempts else _gas(context, task)
        yield "priced"
        signed = None if fees is None else _sign(context, task, fees, gas, holds)
        yield "signed"
        if signed is not None and fees is not None:
            with context.engine.begin() as connection:
                attempt = record_attempt(
                    connection,
                    signer=task.slot.signer, nonce=nonce, purpose=task.purpose,
                    raw=signed.raw, hash_=signed.hash, gas_price=fees.gas_price,
                    priority_fee=fees.priority, gas=gas, reach=view.reach,
                    now=context.clock(),
                )  # fmt: skip
            yield "recorded"
            if attempt is not None:
                yield from _send(context, attempt, holds, view)
            return
        if not attempts:
            return
    best = max(attempts, key=lambda each: each.gas_price)
    yield from _send(context, best, holds, view)


def _claim(context: SignerContext, nonce: int) -> Task | None:
    now, name = context.clock(), context.signer.name
    until = now + context.policy.rebroadcast_after
    with context.engine.begin() as connection:
        slot = claim_slot(connection, name, nonce, now, until)
        if slot is None:
            return None
        owner = owner_of(connection, slot, now)
        return Task(slot, owner, attempts_of(connection, name, nonce))


def _replaces(context: SignerContext, task: Task, view: PendingWork) -> bool:
    """Whether a replacement may be due: if so, the node's price decides.

    A cancel must outbid the call at once. Else only the lowest nonce is bumped, and
    only when the index has had blocks since that did not take it: while no block is
    made, no price helps.
    """
    if task.outbids:
        return True
    last = task.attempts[-1]
    passed = last.reach is None or (view.reach or -1) > last.reach
    old = context.clock() - last.signed_at >= context.policy.bump_after
    return task.slot.nonce == view.lowest and passed and old


def _fees(context: SignerContext, task: Task, holds: HoldReasons) -> Fees | None:
    """Return the fees to offer; a price above the ceiling is a reason for a hold.

    None: nothing, or nothing more than before, for the node suggests no more.
    """
    ceiling = context.policy.ceiling
    try:
        wanted = suggested(context.node, ceiling)
    except NodeOfOtherChain as error:
        holds.complain(Hold.OTHER_CHAIN, str(error))
        return None
    except NodeAway as error:
        log.warning("price_unknown signer=%s cause=%s", context.signer.name, error)
        return None
    asked = ceiling.asked(wanted)
    if asked > ceiling.highest:
        holds.complain(
            Hold.CEILING,
            f"gas costs {asked} wei and at most {ceiling.highest} is paid",
        )
    bumps = task.attempts and not task.outbids
    if bumps and not asks_more(wanted, task.attempts, ceiling):
        return None
    return offer(wanted, task.attempts, ceiling, outbid=task.outbids)


def _gas(context: SignerContext, task: Task) -> int | None:
    """The limit for a call about to be signed, estimated anew; None: as it was.

    The state may have changed since the command was taken. An estimate that fails now
    decides nothing: calls with lower nonces may have to run before.
    """
    call = task.owner if task.purpose == "call" else None
    if call is None:
        return None
    try:
        used = context.node.simulate(
            context.signer.address, call.target, call.value, call.data
        )
    except (NodeAway, Refused):
        return None
    return max(call.gas_limit, with_margin(used))


def _sign(
    context: SignerContext, task: Task, fees: Fees, gas: int | None, holds: HoldReasons
) -> SignedBytes | None:
    """Ask for a signature; a call that is refused gives its nonce up."""
    call = task.owner if task.purpose == "call" else None
    name, nonce = task.slot.signer, task.slot.nonce
    try:
        return context.signer.sign(payload(context, nonce, call, fees, gas))
    except SigningHeld as error:
        log.warning("signing_held signer=%s cause=%s", name, error)
        hinders = error.hold is Hold.BUDGET and call and _hinders(context, call)
        if not (hinders and _give_up(context, task, str(error))):
            holds.complain(error.hold, str(error))
    except SigningRefused as error:
        log.error("signing_refused signer=%s nonce=%s cause=%s", name, nonce, error)
        if not _give_up(context, task, str(error)) and task.purpose != "call":
            holds.complain(Hold.REFUSED, str(error))
    return None


def _hinders(context: SignerContext, call: CommandRow) -> bool:
    """Whether a call that is too dear for today is in the way of a smaller one."""
    with context.engine.connect() as connection:
        other = cheapest_waiting(connection, context.signer.name)
    return other is not None and other.gas_limit < call.gas_limit


def _give_up(context: SignerContext, task: Task, reason: str) -> bool:
    """Use up a nonce whose call was never signed; whether that is allowed."""
    name, nonce = task.slot.signer, task.slot.nonce
    with context.engine.begin() as connection:
        return refuse_slot(connection, name, nonce, reason, context.clock())


def _send(
    context: SignerContext, attempt: AttemptRow, holds: HoldReasons, view: PendingWork
) -> Iterator[str]:
    """Send stored bytes; the node's answer is recorded and decides nothing."""
    refused: bool | None = None
    try:
        answer = context.node.send(attempt.raw)
        refused = answer.refused
        holds.accepted = holds.accepted or answer.accepted
        often = attempt.refusals + 1 >= context.policy.refusals_most
        if answer.hold:
            holds.complain(answer.hold, f"the node says: {answer.text[:200]}")
        elif refused and often and attempt.nonce == view.lowest:
            holds.complain(
                Hold.UNWANTED,
                f"the node does not take nonce {attempt.nonce}: {answer.text[:200]}",
            )
    except NodeAway as error:
        answer = Answer(str(error))
        if isinstance(error, NodeOfOtherChain):
            holds.complain(Hold.OTHER_CHAIN, str(error))
    yield "sent"
    now = context.clock()
    with context.engine.begin() as connection:
        note_answer(
            connection, attempt, answer.text, now,
            again_at=now + context.policy.rebroadcast_after, node_hash=answer.hash,
            refused=refused,
        )  # fmt: skip
    yield "noted"


def _remember(
    context: SignerContext, view: PendingWork, holds: HoldReasons
) -> Iterator[str]:
    """Put the signer on hold for the first complaint, or end its hold.

    It goes on when a node has taken bytes, or when nothing is open any more; that a
    node answered something else ends no hold.
    """
    name = context.signer.name
    if holds.complaints:
        hold, reason = holds.complaints[0]
        known = view.hold and hold is Hold.UNWANTED  # what it waits for says more
        if hold is not view.hold and not known:
            with context.engine.begin() as connection:
                set_hold(connection, name, hold, reason)
            log.warning("signer_held signer=%s cause=%s", name, reason)
            yield "put on hold"
    elif view.hold and (holds.accepted or not view.in_flight):
        with context.engine.begin() as connection:
            set_hold(connection, name, Hold.NO)
        log.info("signer_resumed signer=%s", name)
        yield "taken off hold"
