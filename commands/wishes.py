"""Submit the commands that reactions ask for, each on the chain of its fact."""

import logging
from collections.abc import Iterator
from datetime import timedelta

from commands.arguments import BadArguments
from commands.errors import NodeAway, Refused
from commands.lane import Lane, NoContract, NoSigner, OtherChain
from commands.submit import (
    Intake,
    NoWallet,
    RulesBroken,
    Submission,
)
from db import outbox, sources
from db.commands.accept import KeyReused
from db.commands.queue import TooManyWaiting
from db.journal.append import Actor
from db.outbox import Wish
from db.reads import ReadError

ACTOR = Actor("reactions", tenant="reactions")
LOOK_AGAIN = timedelta(seconds=10)

log = logging.getLogger(__name__)


def work_wishes(intake: Intake) -> Iterator[str]:
    """One pass over what waits; killed anywhere, the next pass goes on.

    The wish's key is the command's idempotency key, so that a pass that died between
    the command and the note of it finds the command again.
    """
    for lane in intake.lanes:
        yield from _work_chain(intake, lane)


def _work_chain(intake: Intake, lane: Lane) -> Iterator[str]:
    """One pass over what the reactions to one chain's facts ask for."""
    with intake.engine.connect() as connection:
        waiting = outbox.due(connection, lane.source, intake.clock())
        final = sources.by_id(connection, lane.source).final
    if waiting and _lacks(lane, final):
        return
    for each in waiting:
        said = _answer(intake, lane, each)
        yield said
        if said == "node away":
            return  # it would be the same with each


def _lacks(lane: Lane, final: int) -> bool:
    """Whether the node lacks blocks that wishes follow from, and would refuse them."""
    try:
        head = lane.head()
    except NodeAway as error:
        log.warning("wishes_wait cause=%s", error)
        return True
    if head < final:
        log.warning("wishes_wait node=%d index=%d", head, final)
    return head < final


def _answer(intake: Intake, lane: Lane, wish: Wish) -> str:
    commands = intake.registry.commands
    try:
        if wish.kind not in commands:
            raise BadArguments([f"no command {wish.kind} is declared"])
        command = commands[wish.kind]
        asked = Submission(
            ACTOR, _key(intake, lane, wish), wish.arguments,
            cause=wish.cause, chain=lane.name,
        )  # fmt: skip
        row, _ = intake.submit(command, asked)
    except (
        RulesBroken,
        Refused,
        BadArguments,
        KeyReused,
        NoWallet,
        OtherChain,
    ) as error:
        log.warning("wish_refused key=%s cause=%s", wish.key, error)
        with intake.engine.begin() as connection:
            outbox.refused(connection, wish.id, str(error))
        return "refused"
    except (NodeAway, NoSigner, NoContract, TooManyWaiting, ReadError) as error:
        log.warning("wish_postponed key=%s cause=%s", wish.key, error)
        with intake.engine.begin() as connection:
            later = intake.clock() + LOOK_AGAIN
            outbox.postponed(connection, wish.id, str(error), later)
        return "node away" if isinstance(error, NodeAway) else "postponed"
    with intake.engine.begin() as connection:
        outbox.granted(connection, wish.id, row.id)
    return "granted"


def _key(intake: Intake, lane: Lane, wish: Wish) -> str:
    """Return the idempotency key of a wish: facts of two chains may ask for the same.

    That of the first chain is the wish's own, as it was when there was only one.
    """
    first = min(each.source for each in intake.lanes)
    return wish.key if lane.source == first else f"{lane.name}:{wish.key}"
