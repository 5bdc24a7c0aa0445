"""Take nonces for waiting commands, and hold commands that cannot be signed now."""

import logging
from collections.abc import Callable, Iterator

from commands.errors import NodeAway, SigningHeld, SigningRefused
from commands.evm.context import (
    SignerContext,
    payload,
)
from commands.evm.fees import Fees, suggested
from commands.holds import HoldReasons
from db.commands.accept import CommandRow
from db.commands.evm.slots import (
    cheapest_waiting,
    next_waiting,
    take_slot,
)
from db.commands.held import due_held, hold_command, release
from db.commands.states import Hold

ASIDE_MOST = 16  # commands that one pass sets aside for their gas

log = logging.getLogger(__name__)


def look_at_held(context: SignerContext, holds: HoldReasons) -> Iterator[str]:
    """Release held commands that their signer would sign now."""
    now = context.clock()
    with context.engine.connect() as connection:
        held = due_held(connection, context.signer.name, now)
    fees = _price(context) if held else None
    for command in held:
        try:
            refusal = _refusal(context, command, fees)
        except SigningHeld as error:
            if error.hold is not Hold.BUDGET:
                holds.complain(error.hold, str(error))
                return
            refusal = str(error)
        yield "asked"
        with context.engine.begin() as connection:
            late = command.valid_until is not None and command.valid_until <= now
            if refusal is None or late:
                release(connection, command.id, now)
            else:
                again = now + context.policy.held_again_after
                hold_command(connection, command.id, refusal, now, again_at=again)
        yield "looked at"


def take(
    context: SignerContext,
    room: int,
    holds: HoldReasons,
    carry: Callable[[int], Iterator[str]],
) -> Iterator[str]:
    """Take nonces for waiting commands, and hold those that the signer refuses.

    Each nonce is carried as far as it goes before the next is taken, and none is taken
    once something is in the way. What is left of the day's gas goes to whoever it is
    enough for: a call that costs more waits aside, unless it is not enough for any.
    """
    name, taken, aside, fees = context.signer.name, 0, 0, None
    while taken < room and aside < ASIDE_MOST and not holds.complaints:
        with context.engine.connect() as connection:
            command = next_waiting(connection, name)
        if command is None:
            return
        now = context.clock()
        fees = fees or _price(context)
        try:
            refusal = _refusal(context, command, fees)
        except SigningHeld as error:
            if not _fits_another(context, error, command, fees):
                holds.complain(error.hold, str(error))
                return
            refusal, aside = str(error), aside + 1
        yield "asked"
        if refusal is not None:
            again = now + context.policy.held_again_after
            with context.engine.begin() as connection:
                hold_command(connection, command.id, refusal, now, again_at=again)
            yield "held"
            continue
        with context.engine.begin() as connection:
            found = take_slot(connection, name, now)
        yield "taken"
        if found is None:
            return
        taken += 1
        yield from carry(found[1].nonce)


def _fits_another(
    context: SignerContext, error: SigningHeld, command: CommandRow, fees: Fees
) -> bool:
    """Whether the day's gas is enough for a smaller call, though not for this one."""
    if error.hold is not Hold.BUDGET:
        return False
    with context.engine.connect() as connection:
        other = cheapest_waiting(connection, context.signer.name)
    if other is None or other.gas_limit >= command.gas_limit:
        return False
    try:
        _refusal(context, other, fees)
    except SigningHeld:
        return False
    return True


def _price(context: SignerContext) -> Fees:
    """Return the fee offered now; the minimum while no node answers."""
    try:
        wanted = suggested(context.node, context.policy.ceiling)
    except NodeAway:
        return Fees(context.policy.gas_price_min)
    most = context.policy.gas_price_max
    tip = None if wanted.priority is None else min(wanted.priority, most)
    return Fees(min(wanted.gas_price, most), tip)


def _refusal(
    context: SignerContext, command: CommandRow, fees: Fees | None
) -> str | None:
    """Return why the signer would refuse a command, before it costs a nonce."""
    fees = fees or Fees(context.policy.gas_price_min)
    try:
        context.signer.permits(payload(context, 0, command, fees))
    except SigningRefused as error:
        return str(error)
    return None
