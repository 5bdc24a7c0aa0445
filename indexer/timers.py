"""Run timers: give rows whose moments are over, run schedules at their times.

One transaction for each row and each run holds the lock of its timer, so that whatever
a function asks for happens once under any number of processes.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from db import blocks, outbox, sources, timers
from db.coverage import Stream
from db.declare import Command
from db.declare.timers import LAST, WALL, Asked, Due, Schedule
from db.engine import Refused
from db.journal.append import Actor
from db.journal.head import SOURCE
from db.reads import ReadError
from db.reads.errors import (
    BadQuery,
    NothingIndexed,
    NotYetIndexed,
    PartlyIndexed,
)
from db.reads.tables import ReadTables
from db.registry import Registry
from db.timers import DueRow
from indexer.react import Reacting, ask, whole_and_final

ACTOR = Actor("timers", tenant="timers")
BUNDLE = 50

log = logging.getLogger(__name__)

_waiting: dict[str, str] = {}  # why a schedule waits, as it was logged last


def run_due(of: Reacting, now: datetime) -> int:
    """Give the rows of a source whose moments have passed; how many were given.

    Of a chain they are judged as they are at its last final block.
    """
    given = 0
    for each in of.registry.dues.values():
        if each.rows.spec.in_journal != (of.id == SOURCE):
            continue
        while found := _give(of, each, now):
            given += found
            if found < BUNDLE:
                break
    return given


def _give(of: Reacting, each: Due, now: datetime) -> int:
    with of.engine.begin() as connection:
        final = whole_and_final(connection, of)
        if final is None:
            return 0
        as_of = None if of.id == SOURCE else final
        seconds = int(now.timestamp())
        tables = ReadTables(
            connection, of.id, as_of=as_of, plan=of.streams,
            time=seconds if each.clock == WALL else _time(connection, of, final),
            settings=of.registry.settings,
        )  # fmt: skip
        if not timers.due_rows(connection, of.id, each, tables.time, 1):
            return 0
        outbox.lock_reaction(connection, of.id, f"due:{each.id}")
        given = 0
        for row in timers.due_rows(connection, of.id, each, tables.time, BUNDLE):
            try:
                with connection.begin_nested():
                    given += _give_row(connection, of, each, row, tables, now)
            except (ReadError, Refused):
                raise  # it is the database's trouble, and no row's
            except Exception:
                # It is given again in the next pass; the others must not wait for it.
                log.exception("due_failed timer=%s row=%s", each.id, row.text)
    return given


def _give_row(
    connection: Connection,
    of: Reacting,
    each: Due,
    row: DueRow,
    tables: ReadTables,
    now: datetime,
) -> bool:
    """Give a row if it is due at the block too that is gone by, as it is there."""
    seen = tables.row(each.rows, **row.keys)
    if seen is None or getattr(seen, each.at) != row.moment:
        return False
    if any(getattr(seen, name) not in values for name, values in each.when.items()):
        return False
    cause = f"due:{each.id}@{row.text}:{row.moment}"
    for item in each.ask(seen, tables):
        ask(
            connection,
            of.registry,
            of.id,
            item,
            key=partial(_key, cause),
            cause=cause,
            actor=ACTOR,
        )
    timers.note_due(connection, of.id, each.id, row, now)
    log.info("due timer=%s row=%s moment=%d", each.id, row.text, row.moment)
    return True


def _time(connection: Connection, of: Reacting, final: int) -> int:
    """The time of a block, or of the highest that is remembered below it."""
    return blocks.time_at(connection, of.id, final) or 0


def run_schedules(
    engine: Engine,
    registry: Registry,
    chains: Sequence[tuple[int, Sequence[Stream]]],
    now: datetime,
) -> int:
    """Run the schedules whose times have come; how many runs.

    `chains` are the chains of the settings by number, with their streams. A schedule
    that reads what is not indexed yet waits, and the others run.
    """
    runs = 0
    for each in registry.schedules.values():
        try:
            while _run_next(engine, registry, each, chains, now):
                runs += 1
        except (NotYetIndexed, NothingIndexed, PartlyIndexed) as error:
            if _waiting.get(each.id) != str(error):
                log.warning("schedule_waits timer=%s cause=%s", each.id, error)
            _waiting[each.id] = str(error)
        else:
            _waiting.pop(each.id, None)
    return runs


def _run_next(
    engine: Engine,
    registry: Registry,
    each: Schedule,
    chains: Sequence[tuple[int, Sequence[Stream]]],
    now: datetime,
) -> bool:
    """Run a schedule once, if its time has come or a person asked for it."""
    with engine.begin() as connection:
        if timers.rests(connection, each, now):
            return False
        next_at = timers.lock_schedule(connection, each, now)
        asked_by = timers.take_request(connection, each.id)
        at = now if asked_by else next_at
        if at > now:
            return False
        if not asked_by and each.missed == LAST:
            at = max(each.between(at, now))
        try:
            asked_for = _run(connection, registry, each, at, chains)
        except BadQuery as error:
            # No later time has what it reads: its domain is on no chain, or on several.
            log.warning("schedule_cannot_read timer=%s cause=%s", each.id, error)
            asked_for = 0
        timers.note_run(
            connection, each.id, at, now, asked_for=asked_for, asked_by=asked_by or ""
        )
        if not asked_by:
            timers.move_schedule(connection, each, each.after(at))
    log.info("scheduled timer=%s at=%s asked=%d", each.id, at.isoformat(), asked_for)
    return True


def _of_domain(
    chains: Sequence[tuple[int, Sequence[Stream]]], domain: str
) -> Sequence[tuple[int, Sequence[Stream]]]:
    """Return the chains with events of a domain; all where none has any."""
    found = [
        (number, plan)
        for number, plan in chains
        if any(stream.event.startswith(f"{domain}.") for stream in plan)
    ]
    return found or chains


def _run(
    connection: Connection,
    registry: Registry,
    each: Schedule,
    at: datetime,
    chains: Sequence[tuple[int, Sequence[Stream]]],
) -> int:
    source, plan, as_of = SOURCE, None, None
    own = _of_domain(chains, each.domain)
    if len(own) == 1:
        [(source, plan)] = own
        as_of = sources.by_id(connection, source).final
    tables = ReadTables(
        connection, source, as_of=as_of, plan=plan, time=int(at.timestamp()),
        journal=True, settings=registry.settings,
    )  # fmt: skip
    cause = f"schedule:{each.id}@{at.astimezone(UTC).isoformat()}"

    local = at.astimezone(ZoneInfo(each.zone))
    asked: list[Asked] = list(each.ask(local, tables))
    for item in asked:
        ask(
            connection,
            registry,
            SOURCE,
            item,
            key=partial(_key, cause),
            cause=cause,
            actor=ACTOR,
        )
    return len(asked)


def _key(cause: str, command: Command) -> str:
    """The key of a command that one row or run asks for."""
    values = outbox.request_key(command.spec.slug, list(command.values.values()))
    return f"{values}@{cause}"
