"""Run reactions, timers and schedules beside the loops that follow chains."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Engine

from db import sources
from db.engine import Refused
from db.journal.head import SOURCE
from db.reads import ReadError
from db.registry import Registry
from indexer.follow import first_line
from indexer.react import Reacting, run_reactions
from indexer.timers import run_due, run_schedules
from ops.indexing import streams
from ops.settings import Settings
from ops.waking import heard, pause

REACT_SECONDS = 0.5
REST_SECONDS = 0.02  # between passes, however often it is woken

log = logging.getLogger(__name__)


async def react(of: Reacting, stop: asyncio.Event, *more: Callable[[], int]) -> None:
    """Run reactions and timers of a chain, or of the journal, again and again.

    Notifications of Postgres wake it, and twice a second it looks by itself, as one may
    be lost. `more` are run besides. Each is tried though another fails.
    """
    work: list[Callable[[], int]] = [
        partial(run_reactions, of),
        _Paced(lambda: run_due(of, datetime.now(UTC))),
        *more,
    ]
    registry = of.registry
    if not (registry.reactions or registry.dues or registry.schedules):
        return
    async with heard(of.engine, "chainfold", partial(_is_final, of.id)) as woken:
        while not stop.is_set():
            await pause(stop, woken, REACT_SECONDS)
            woken.clear()
            for each in work:
                await _try(each, of.name)
            await sleep(stop, REST_SECONDS)


def _is_final(source: int, payload: str) -> bool:
    """Whether a notification tells of final blocks of a source, or of an entry."""
    first, _, rest = payload.partition(":")
    return first == str(source) and (source == SOURCE or rest.startswith("final:"))


async def _try(work: Callable[[], int], chain: str) -> None:
    """Do some work in a thread; what goes wrong is logged, and it is tried again."""
    try:
        await asyncio.to_thread(work)
    except (Refused, ReadError) as error:
        log.warning("reactions_retried chain=%s cause=%s", chain, first_line(error))
    except Exception:
        # Without this nothing would be done any more, and nobody hear of it.
        log.exception("reactions_failed chain=%s", chain)


class _Paced:
    """Work that looks at whole tables: done so seldom that it takes little of the time.

    Where it finds nothing to do it rests for ten times as long as it took.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work
        self._rests_until = 0.0  # on the monotonic clock

    def __call__(self) -> int:
        began = time.monotonic()
        if began < self._rests_until:
            return 0
        done = self._work()
        if not done:
            took = time.monotonic() - began
            self._rests_until = time.monotonic() + 10 * took
        return done


def schedules(settings: Settings, engine: Engine, registry: Registry) -> int:
    """Run the schedules whose times have come."""
    planned = streams(settings, registry)
    with engine.connect() as connection:
        rows = sources.all_sources(connection)
    chains = [(row.id, planned[row.name][1]) for row in rows if row.name in planned]
    return run_schedules(engine, registry, chains, datetime.now(UTC))


async def sleep(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
