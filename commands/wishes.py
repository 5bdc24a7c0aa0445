"""Submit the commands that reactions and timers ask for.

What follows from a chain goes to that chain; what follows from the journal or from a
schedule goes where its signer or its contract is.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta

from commands.arguments import BadArguments
from commands.errors import NodeAway, Refused
from commands.lane import ChainRequired, Lane, NoContract, NoSigner, OtherChain
from commands.submit import (
    Intake,
    NoWallet,
    RulesBroken,
    Submission,
)
from db import outbox, sources
from db.commands.errors import KeyReused, TooManyWaiting
from db.journal.append import Actor
from db.journal.head import SOURCE
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
        yield from _work_source(intake, lane)
    yield from _work_source(intake, None)


def _work_source(intake: Intake, lane: Lane | None) -> Iterator[str]:
    """One pass over what follows from one chain, or from the journal."""
    source = SOURCE if lane is None else lane.source
    with intake.engine.connect() as connection:
        waiting = outbox.due(connection, source, intake.clock())
        if waiting and lane is not None:
            final = sources.by_id(connection, source).final
    if waiting and lane is not None and _lacks(lane, final):
        return
    for each in waiting:
        said = _answer(intake, lane, each)
        yield said
        if said == "node away" and lane is not None:
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


def _answer(intake: Intake, lane: Lane | None, wish: Wish) -> str:
    commands = intake.registry.commands
    try:
        if wish.kind not in commands:
            raise BadArguments([f"no command {wish.kind} is declared"])
        command = commands[wish.kind]
        asked = Submission(
            ACTOR, _key(intake, lane, wish), wish.arguments,
            cause=wish.cause, chain=None if lane is None else lane.name,
        )  # fmt: skip
        row, _ = intake.submit(command, asked)
    except (
        RulesBroken,
        Refused,
        BadArguments,
        KeyReused,
        NoWallet,
        OtherChain,
        ChainRequired,
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


def _key(intake: Intake, lane: Lane | None, wish: Wish) -> str:
    """Return the idempotency key of a wish: facts of two chains may ask for the same.

    That of the first chain is the wish's own, as it was when there was only one.
    """
    if lane is None:
        return f"journal:{wish.key}"
    first = min(each.source for each in intake.lanes)
    return wish.key if lane.source == first else f"{lane.name}:{wish.key}"
