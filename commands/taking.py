"""Taking nonces for commands that wait, and setting aside what is not signed now."""

import logging
from collections.abc import Callable, Iterator

from commands.desk import Desk, Mood, payload
from commands.errors import NodeAway, SigningHeld, SigningRefused
from commands.fees import Fees, suggested
from db.commands.accept import CommandRow
from db.commands.holding import due_held, hold_command, release
from db.commands.slots import cheapest_waiting, next_waiting, take_slot
from db.commands.states import Hold

ASIDE_MOST = 16  # commands that one pass sets aside for their gas

log = logging.getLogger(__name__)


def look_at_held(desk: Desk, mood: Mood) -> Iterator[str]:
    """Let held commands go on that their signer refuses no longer."""
    now = desk.clock()
    with desk.engine.connect() as connection:
        held = due_held(connection, desk.signer.name, now)
    fees = _price(desk) if held else None
    for command in held:
        try:
            refusal = _refusal(desk, command, fees)
        except SigningHeld as error:
            if error.hold is not Hold.BUDGET:
                mood.complain(error.hold, str(error))
                return
            refusal = str(error)
        yield "asked"
        with desk.engine.begin() as connection:
            late = command.valid_until is not None and command.valid_until <= now
            if refusal is None or late:
                release(connection, command.id, now)
            else:
                again = now + desk.policy.held_again_after
                hold_command(connection, command.id, refusal, now, again_at=again)
        yield "looked at"


def take(
    desk: Desk, room: int, mood: Mood, carry: Callable[[int], Iterator[str]]
) -> Iterator[str]:
    """Take nonces for waiting commands, and put aside what would not be signed.

    Each nonce is carried as far as it goes before the next is taken, and none is taken
    once something is in the way. What is left of the day's gas goes to whoever it is
    enough for: a call that costs more waits aside, unless it is not enough for any.
    """
    name, taken, aside, fees = desk.signer.name, 0, 0, None
    while taken < room and aside < ASIDE_MOST and not mood.complaints:
        with desk.engine.connect() as connection:
            command = next_waiting(connection, name)
        if command is None:
            return
        now = desk.clock()
        fees = fees or _price(desk)
        try:
            refusal = _refusal(desk, command, fees)
        except SigningHeld as error:
            if not _fits_another(desk, error, command, fees):
                mood.complain(error.hold, str(error))
                return
            refusal, aside = str(error), aside + 1
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
        taken += 1
        yield from carry(found[1].nonce)


def _fits_another(
    desk: Desk, error: SigningHeld, command: CommandRow, fees: Fees
) -> bool:
    """Whether the day's gas is enough for a smaller call, though not for this one."""
    if error.hold is not Hold.BUDGET:
        return False
    with desk.engine.connect() as connection:
        other = cheapest_waiting(connection, desk.signer.name)
    if other is None or other.gas_limit >= command.gas_limit:
        return False
    try:
        _refusal(desk, other, fees)
    except SigningHeld:
        return False
    return True


def _price(desk: Desk) -> Fees:
    """What would be offered now; while no node tells, the least."""
    try:
        wanted = suggested(desk.node, desk.policy.ceiling)
    except NodeAway:
        return Fees(desk.policy.gas_price_min)
    most = desk.policy.gas_price_max
    tip = None if wanted.priority is None else min(wanted.priority, most)
    return Fees(min(wanted.gas_price, most), tip)


def _refusal(desk: Desk, command: CommandRow, fees: Fees | None) -> str | None:
    """Why the signer would refuse a command, before it costs a nonce."""
    fees = fees or Fees(desk.policy.gas_price_min)
    try:
        desk.signer.permits(payload(desk, 0, command, fees))
    except SigningRefused as error:
        return str(error)
    return None
