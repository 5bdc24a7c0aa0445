"""Carrying a signer's commands to the cluster: signed, sent, and settled by the index.

`work` is a generator: it yields between any two steps that a crash could fall between,
so that a test can drop it anywhere; `work_once` runs it to the end. Each database step
is one transaction, and no lock is held while a node or a key is asked.

A transaction is sent again, the same bytes, until it lands or its blockhash is past. A
command is signed anew only when nothing that was signed for it can land any more.
"""

import hashlib
import logging
from collections.abc import Iterator
from datetime import timedelta

from solders.instruction import Instruction
from solders.message import to_bytes_versioned
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from commands.arguments import BadArguments
from commands.errors import NodeAway, NodeOfOtherChain, SigningHeld, SigningRefused
from commands.holds import HoldReasons
from commands.solana.choosing import simulate_choices
from commands.solana.context import SignerContext
from commands.solana.errors import explain_failure
from commands.solana.guard import UnknownSignatures
from commands.solana.node import NoMoney
from commands.solana.past import Undertaker
from commands.solana.signers import Payload
from commands.solana.transaction import (
    Budget,
    compile_message,
    with_margin,
)
from db.commands import accept
from db.commands.accept import CommandRow, move
from db.commands.held import due_held, hold_command, release
from db.commands.signers import find_signer, set_hold
from db.commands.solana.attempts import (
    SignedTransaction,
    any_waits,
    claim,
    in_flight,
    intent_of,
    note_answer,
    recall_attempts,
    record_attempt,
    settled,
    waiting,
)
from db.commands.solana.memory import GivenSignature
from db.commands.solana.resolve import (
    Look,
    end_if_over,
    open_attempts,
    settle_attempt,
    to_sign_again,
)
from db.commands.states import Hold, State

log = logging.getLogger(__name__)


def work_once(context: SignerContext) -> None:
    """Run one pass to its end."""
    for _ in work(context):
        pass


def work(context: SignerContext) -> Iterator[str]:
    """One pass: settle what the index shows, send again, sign what waits."""
    name = context.signer.name
    with context.engine.connect() as connection:
        row = find_signer(connection, name)
        found = open_attempts(connection, name, context.clock())
    if row is None:
        return
    holds = HoldReasons()
    yield from _settle(context, found)
    if row.paused:
        return
    yield from _look_at_past(context, found)
    yield from _send_again(context, found, holds)
    yield from _sign_again(context, holds)
    yield from _look_at_held(context)
    busy = sum(look.landed is None for look in found)
    most = 1 if row.hold else context.policy.max_in_flight
    yield from _take(context, max(0, most - busy), holds)
    yield from _remember(context, row.hold, holds)


def _settle(context: SignerContext, found: list[Look]) -> Iterator[str]:
    """Tell commands what the index shows of their attempts."""
    for look in found:
        undone = look.landed is None and look.state is State.INCLUDED
        seen = look.landed is not None and look.state is not State.INCLUDED
        if not (look.final or undone or seen):
            continue
        with context.engine.connect() as connection:
            row = accept.find(connection, look.attempt.command)
        call = None if row is None else context.calls.get(row.kind)
        retried = frozenset() if call is None else call.retried
        with context.engine.begin() as connection:
            settle_attempt(
                connection, look.attempt.signature, context.clock(), retried=retried
            )
        yield "settled"


def _look_at_past(context: SignerContext, found: list[Look]) -> Iterator[str]:
    """Find attempts that can land no more, and let them be dead when that is sure."""
    return Undertaker(
        context.engine, context.node, context.clock, context.policy.look_after,
        context.signer.name,
    ).look(found)  # fmt: skip


def _send_again(
    context: SignerContext, found: list[Look], holds: HoldReasons
) -> Iterator[str]:
    """Send the same bytes while they may land and are wanted."""
    for look in found:
        wanted = look.state is State.SIGNED and not look.late
        open_ = look.landed is None and look.attempt.past_slot is None
        if wanted and open_ and look.due and look.attempt.raw:
            yield from _send(context, look.attempt.signature, look.attempt.raw, holds)


def _sign_again(context: SignerContext, holds: HoldReasons) -> Iterator[str]:
    """Sign anew what nothing can land of any more, or end it if it was to end."""
    with context.engine.connect() as connection:
        again = to_sign_again(connection, context.signer.name)
    for command_id in again:
        with context.engine.begin() as connection:
            ended = end_if_over(connection, command_id, context.clock())
            row = accept.find(connection, command_id)
        yield "looked at"
        if ended or row is None or row.state is not State.SIGNED:
            continue
        if not holds.complaints:
            yield from _sign(context, row, holds)


def _look_at_held(context: SignerContext) -> Iterator[str]:
    """Let held commands wait for their turn again, the oldest first."""
    now = context.clock()
    with context.engine.connect() as connection:
        held = due_held(connection, context.signer.name, now)
    for command in held:
        with context.engine.begin() as connection:
            release(connection, command.id, now)
        yield "released"


def _take(context: SignerContext, room: int, holds: HoldReasons) -> Iterator[str]:
    """Sign commands that wait, the oldest first, while there is room."""
    now = context.clock()
    with context.engine.connect() as connection:
        found = waiting(connection, context.signer.name, now, room)
    for command in found:
        if holds.complaints:
            return
        with context.engine.begin() as connection:
            until = context.clock() + context.policy.claim_for
            mine = claim(connection, command.id, context.clock(), until)
        yield "claimed"
        if not mine:
            continue
        if command.valid_until is not None and command.valid_until <= context.clock():
            _expire(context, command)
            yield "expired"
            continue
        yield from _sign(context, command, holds)


def _expire(context: SignerContext, command: CommandRow) -> None:
    """End a command that was never signed and whose time is over."""
    with context.engine.begin() as connection:
        locked = accept.lock(connection, command.id)
        if locked.state is State.ACCEPTED:
            now, reason = context.clock(), "its time was over"
            move(connection, locked, State.EXPIRED, now, reason=reason)


def _sign(
    context: SignerContext, command: CommandRow, holds: HoldReasons
) -> Iterator[str]:
    """Simulate, sign, store and send one command."""
    try:
        made = _signed(context, command)
    except NoMoney as error:
        holds.complain(Hold.FUNDS, str(error))
        return
    except NodeOfOtherChain as error:
        holds.complain(Hold.OTHER_CHAIN, str(error))
        return
    except NodeAway as error:
        log.warning("not_signed command=%s cause=%s", command.id, error)
        return
    except UnknownSignatures as error:
        with context.engine.begin() as connection:
            recall_attempts(connection, command.id, error.found, context.clock())
        yield "recalled"
        return
    except SigningHeld as error:
        holds.complain(error.hold, str(error))
        return
    except (SigningRefused, BadArguments) as error:
        yield from _hold(context, command, str(error))
        return
    yield "signed"
    if isinstance(made, str):
        yield from _hold(context, command, made)
        return
    with context.engine.begin() as connection:
        attempt = record_attempt(connection, command.id, made, context.clock())
    yield "recorded"
    if attempt is not None:
        yield from _send(context, attempt.signature, attempt.raw, holds)


def _signed(context: SignerContext, command: CommandRow) -> SignedTransaction | str:
    """Return the signed transaction of a command, or why it would fail now.

    Raises NodeAway, NoMoney, BadArguments, SigningHeld, SigningRefused.
    """
    payer = context.signer.address
    with context.engine.connect() as connection:
        tenant, key = intent_of(connection, command.id)
        known = settled(connection, command.id)
    intent = hashlib.sha256(f"{tenant}\0{key}".encode()).digest()
    if before := context.signer.recall(intent, known):
        raise UnknownSignatures(before)
    call = context.calls.get(command.kind)
    instruction, simulated = simulate_choices(
        context.node, call, Instruction.from_bytes(command.data), payer, context.several
    )
    if simulated.error is not None:
        failure = explain_failure(call, command.target, simulated.error, simulated.logs)
        if failure.unpaid:
            raise NoMoney(f"signer {context.signer.name}: {failure.reason}")
        return failure.reason
    price = min(simulated.price, context.policy.price_max)
    budget = Budget(with_margin(simulated.units, context.policy.margin_percent), price)
    recent = simulated.recent
    assert recent is not None  # it succeeds
    message = compile_message(instruction, payer, recent.hash, budget)
    payload = Payload(
        message=to_bytes_versioned(message),
        intent=intent,
        last_valid=recent.last_valid,
        slot=recent.slot,
        settled=known,
        lamports=simulated.lamports + budget.fee(1),
        tokens=tuple(sorted(simulated.tokens.items())),
    )
    signature = context.signer.sign(payload)
    whole = VersionedTransaction.populate(message, [Signature.from_bytes(signature)])
    found = GivenSignature(signature, recent.slot, recent.last_valid)
    return SignedTransaction(bytes(whole), found, budget.fee(1))


def _hold(context: SignerContext, command: CommandRow, reason: str) -> Iterator[str]:
    """Put a command aside that would fail or is not signed; others go on."""
    log.warning("command_held command=%s cause=%s", command.id, reason)
    now = context.clock()
    again = now + context.policy.held_again_after
    with context.engine.begin() as connection:
        if command.state is State.SIGNED:
            locked = accept.lock(connection, command.id)
            if locked.state is State.SIGNED:
                move(connection, locked, State.ACCEPTED, now, reason=reason)
        hold_command(connection, command.id, reason, now, again_at=again)
    yield "held"


def _send(
    context: SignerContext, signature: bytes, raw: bytes, holds: HoldReasons
) -> Iterator[str]:
    """Hand over stored bytes; what the node says is noted and decides nothing."""
    try:
        answer = context.node.send(raw)
        text = answer.text
        holds.accepted = holds.accepted or answer.accepted
        if answer.hold:
            holds.complain(answer.hold, f"the node says: {text[:200]}")
    except NodeAway as error:
        text = str(error)
        if isinstance(error, NodeOfOtherChain):
            holds.complain(Hold.OTHER_CHAIN, text)
    yield "sent"
    now = context.clock()
    again: timedelta = context.policy.rebroadcast_after
    with context.engine.begin() as connection:
        note_answer(connection, signature, text, now, again_at=now + again)
    yield "noted"


def _remember(context: SignerContext, hold: Hold, holds: HoldReasons) -> Iterator[str]:
    """Put the signer on hold for what is in the way, or let it go on."""
    name = context.signer.name
    if holds.complaints:
        found, reason = holds.complaints[0]
        if found is not hold:
            with context.engine.begin() as connection:
                set_hold(connection, name, found, reason)
            log.warning("signer_held signer=%s cause=%s", name, reason)
            yield "put on hold"
        return
    with context.engine.connect() as connection:
        idle = not (in_flight(connection, name) or any_waits(connection, name))
    if hold and (holds.accepted or idle):
        with context.engine.begin() as connection:
            set_hold(connection, name, Hold.NO)
        log.info("signer_goes_on signer=%s", name)
        yield "taken off hold"
