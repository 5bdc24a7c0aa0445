"""Submit the commands that reactions and timers ask for.

What follows from a chain goes to that chain; what follows from the journal or from a
schedule goes where its signer or its contract is. What was withdrawn is cancelled.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection

from commands.actions import note_action
from commands.arguments import BadArguments
from commands.errors import NodeAway, Refused
from commands.kinds import kind_of
from commands.lane import ChainRequired, Lane, NoContract, NoSigner, OtherChain
from commands.submit import (
    CommandService,
    NoWallet,
    RulesBroken,
    Submission,
)
from db import outbox, sources
from db.commands.accept import CommandRow, find_by_key
from db.commands.errors import KeyReused, NotCancellable, TooManyWaiting
from db.commands.states import TERMINAL
from db.journal.append import Actor
from db.journal.head import SOURCE
from db.outbox import CommandRequest
from db.reads import ReadError

ACTOR = Actor("reactions", tenant="reactions")
LOOK_AGAIN = timedelta(seconds=10)
LOOK_ONCE_MORE = timedelta(minutes=10)
LOOKED_FOR = "withdrawn; no command was there yet"

log = logging.getLogger(__name__)


def submit_requests(service: CommandService) -> Iterator[str]:
    """Submit the waiting requests once; a pass that dies is continued by the next.

    The request's key is the command's idempotency key, so that a pass that died between
    the command and the note of it finds the command again.
    """
    for lane in service.lanes:
        yield from _work_source(service, lane)
    yield from _work_source(service, None)


def _work_source(service: CommandService, lane: Lane | None) -> Iterator[str]:
    """One pass over what follows from one chain, or from the journal."""
    source = SOURCE if lane is None else lane.source
    with service.engine.connect() as connection:
        waiting = outbox.due(connection, source, service.clock())
        if waiting and lane is not None:
            final = sources.by_id(connection, source).final
    if waiting and lane is not None and _lacks(lane, final):
        return
    for each in waiting:
        outcome = _answer(service, lane, each)
        yield outcome
        if outcome == "node away" and lane is not None:
            return  # it would be the same with each


def _lacks(lane: Lane, final: int) -> bool:
    """Whether the node lacks blocks that requests follow from: it would refuse them."""
    try:
        head = lane.head()
    except NodeAway as error:
        log.warning("requests_wait cause=%s", error)
        return True
    if head < final:
        log.warning("requests_wait node=%d index=%d", head, final)
    return head < final


def _answer(service: CommandService, lane: Lane | None, request: CommandRequest) -> str:
    if request.withdrawn_because:
        return _withdraw(service, lane, request)
    commands = service.registry.commands
    try:
        if request.kind not in commands:
            raise BadArguments([f"no command {request.kind} is declared"])
        command = commands[request.kind]
        asked = Submission(
            ACTOR, _key(service, lane, request), request.arguments,
            cause=request.cause, chain=None if lane is None else lane.name,
        )  # fmt: skip
        row, _ = service.submit(command, asked)
    except (
        RulesBroken,
        Refused,
        BadArguments,
        KeyReused,
        NoWallet,
        OtherChain,
        ChainRequired,
    ) as error:
        log.warning("request_rejected key=%s cause=%s", request.key, error)
        with service.engine.begin() as connection:
            outbox.note_rejected(connection, request.id, str(error))
        return "rejected"
    except (NodeAway, NoSigner, NoContract, TooManyWaiting, ReadError) as error:
        log.warning("request_retried key=%s cause=%s", request.key, error)
        with service.engine.begin() as connection:
            later = service.clock() + LOOK_AGAIN
            outbox.note_retry(connection, request.id, str(error), later)
        return "node away" if isinstance(error, NodeAway) else "retried"
    with service.engine.begin() as connection:
        outbox.note_accepted(connection, request.id, row.id)
    return "accepted"


def _withdraw(
    service: CommandService, lane: Lane | None, request: CommandRequest
) -> str:
    """Cancel the command of a request that is wanted no more, if there is one.

    Another process may be about to submit it: where there is none it is looked for once
    more, when that process has noted its command or is gone.
    """
    now = service.clock()
    with service.engine.begin() as connection:
        key = _key(service, lane, request)
        row = find_by_key(connection, ACTOR.tenant, key)
        if row is None and request.refusal != LOOKED_FOR:
            outbox.note_retry(connection, request.id, LOOKED_FOR, now + LOOK_ONCE_MORE)
            return "looked for"
        outcome = f"withdrawn: {request.withdrawn_because}"
        if row is not None and row.state not in TERMINAL:
            outcome += f"; {_cancel(service, connection, row, now)}"
        id_ = None if row is None else row.id
        outbox.note_withdrawn(connection, request.id, id_, outcome)
    return "withdrawn"


def _cancel(
    service: CommandService, connection: Connection, row: CommandRow, now: datetime
) -> str:
    """Ask for a command's end; what came of that."""
    try:
        row = kind_of(connection, row.source).cancel(connection, row.id, now)
    except NotCancellable as error:
        return str(error)
    note_action(
        connection, service.registry, "cancel", str(row.id), row.state, ACTOR, now
    )
    return f"the command is {row.state}"


def _key(service: CommandService, lane: Lane | None, request: CommandRequest) -> str:
    """Return the idempotency key of a request.

    Facts of two chains may ask for the same: all chains but the first prefix its key.
    """
    if lane is None:
        return f"journal:{request.key}"
    first = min(each.source for each in service.lanes)
    return request.key if lane.source == first else f"{lane.name}:{request.key}"
