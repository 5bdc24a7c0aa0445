"""Carrying a signer's open nonces forward.

`work` is a generator: it yields between any two steps that a crash could fall
between, so that a test can drop it anywhere; `work_once` runs it to the end. Each
database step is one transaction, and no lock is held while a node or a key is asked.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from commands.errors import NodeAway, SigningRefused
from commands.node import Node
from commands.signers import Payload, Signer
from db.commands.accept import CommandRow
from db.commands.attempts import AttemptRow, attempts_of, note_answer, record_attempt
from db.commands.resolve import consumed, settle_slot
from db.commands.slots import SlotRow, fill_gaps, open_slots, owner_of, take_slot
from db.commands.states import Closing

log = logging.getLogger(__name__)

TRANSFER_GAS = 21_000
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard a signer tries; prices in wei."""

    chain_id: int
    rebroadcast_after: timedelta = timedelta(seconds=10)
    bump_after: timedelta = timedelta(seconds=30)
    bump_percent: int = 12
    gas_price_max: int = 10**12
    gas_price_min: int = 10**9


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that work on one signer needs."""

    engine: Engine
    signer: Signer
    node: Node
    policy: Policy
    clock: Clock


def work_once(desk: Desk) -> int:
    """One pass over a signer's commands; returns how many steps it took."""
    return sum(1 for _ in work(desk))


def work(desk: Desk) -> Iterator[str]:
    """One pass: settle what the index shows, take nonces, sign, send, send again."""
    name = desk.signer.name
    with desk.engine.connect() as connection:
        slots = open_slots(connection, name)
    for slot in slots:
        with desk.engine.begin() as connection:
            settle_slot(connection, name, slot.nonce, desk.clock())
        yield "settled"
    with desk.engine.begin() as connection:
        fill_gaps(connection, name, desk.clock())
    yield "filled"
    while True:
        with desk.engine.begin() as connection:
            taken = take_slot(connection, name, desk.clock())
        yield "taken"
        if taken is None:
            break
    with desk.engine.connect() as connection:
        slots = open_slots(connection, name)
        used = consumed(connection, name)
    lowest = True
    for slot in slots:
        if slot.nonce in used:
            continue
        yield from _carry(desk, slot, lowest=lowest)
        lowest = False


def _carry(desk: Desk, slot: SlotRow, *, lowest: bool) -> Iterator[str]:
    """Sign, replace or send again, whichever an open nonce needs now."""
    now = desk.clock()
    with desk.engine.begin() as connection:
        owner = owner_of(connection, slot, now)
        attempts = attempts_of(connection, slot.signer, slot.nonce)
    purpose = _purpose(slot, owner)
    if not attempts or _replaces(desk.policy, attempts, purpose, now, lowest=lowest):
        yield "deciding"
        signed = _sign(desk, slot, owner, purpose, attempts)
        if signed is None:
            return
        payload, raw, hash_ = signed
        yield "signed"
        with desk.engine.begin() as connection:
            attempt = record_attempt(
                connection,
                signer=slot.signer, nonce=slot.nonce, purpose=purpose, raw=raw,
                hash_=hash_, gas_price=payload.gas_price, now=now,
            )  # fmt: skip
        yield "recorded"
        if attempt is not None:
            yield from _send(desk, attempt)
        return
    best = max(attempts, key=lambda each: each.gas_price)
    if best.sent_at is None or now - best.sent_at >= desk.policy.rebroadcast_after:
        yield from _send(desk, best)


def _purpose(slot: SlotRow, owner: CommandRow | None) -> str:
    if owner is None:
        return "filler"
    closing = slot.closing is not Closing.NO or owner.state == "closing"
    return "cancel" if closing else "call"


def _replaces(
    policy: Policy,
    attempts: list[AttemptRow],
    purpose: str,
    now: datetime,
    *,
    lowest: bool,
) -> bool:
    """A cancel must outbid the call at once; else only the lowest nonce is bumped."""
    last = attempts[-1]
    if purpose == "cancel" and last.purpose != "cancel":
        return True
    if last.gas_price >= policy.gas_price_max:
        return False
    return lowest and now - last.signed_at >= policy.bump_after


def _sign(
    desk: Desk,
    slot: SlotRow,
    owner: CommandRow | None,
    purpose: str,
    attempts: list[AttemptRow],
) -> tuple[Payload, bytes, bytes] | None:
    try:
        price = _price(desk, attempts)
    except NodeAway as error:
        log.warning("price_unknown signer=%s cause=%s", slot.signer, error)
        return None
    call = owner if purpose == "call" else None
    payload = Payload(
        chain_id=desk.policy.chain_id,
        nonce=slot.nonce,
        gas_price=price,
        gas=TRANSFER_GAS if call is None else call.gas_limit,
        to=desk.signer.address if call is None else call.target,
        value=0 if call is None else call.value,
        data=b"" if call is None else call.data,
    )
    try:
        signed = desk.signer.sign(payload)
    except SigningRefused as error:
        log.error("signing_refused signer=%s cause=%s", slot.signer, error)
        return None
    return payload, signed.raw, signed.hash


def _price(desk: Desk, attempts: list[AttemptRow]) -> int:
    """What the node suggests, and more than any attempt before."""
    price = max(desk.node.gas_price(), desk.policy.gas_price_min)
    if attempts:
        highest = max(each.gas_price for each in attempts)
        price = max(price, highest + highest * desk.policy.bump_percent // 100 + 1)
    return min(price, desk.policy.gas_price_max) if not attempts else price


def _send(desk: Desk, attempt: AttemptRow) -> Iterator[str]:
    """Hand over stored bytes; what the node says is noted and decides nothing."""
    try:
        answer = desk.node.send(attempt.raw)
    except NodeAway as error:
        answer = str(error)
    yield "sent"
    with desk.engine.begin() as connection:
        note_answer(connection, attempt, answer, desk.clock())
    yield "noted"
