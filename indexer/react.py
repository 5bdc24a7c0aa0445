"""Run reactions: final facts and entries in, requests out, each exactly once.

One transaction for each bundle of facts: the reaction's position is locked, the
reaction is given each fact with the tables as of its block, and its commands and its
new position commit together. Killed anywhere, it begins again where it was.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection, Engine

from db import coverage, notices, outbox, sources
from db.coverage import Stream
from db.declare import Command, Notice, Reaction, Withdrawal
from db.declare.timers import Asked
from db.journal.append import Actor, append
from db.journal.head import NAME, SOURCE, STREAM
from db.outbox import FactSeen
from db.position import BlockRange, height_of
from db.reads.tables import ReadTables
from db.registry import Registry

BUNDLE = 50
ACTOR = Actor("reactions", tenant="reactions")

log = logging.getLogger(__name__)


class Reacting(Protocol):
    """A source whose facts are reacted to: a chain, or the journal."""

    @property
    def engine(self) -> Engine:
        """The engine that writes."""
        ...

    @property
    def registry(self) -> Registry:
        """All declarations."""
        ...

    @property
    def name(self) -> str:
        """The name of the source."""
        ...

    @property
    def id(self) -> int:
        """The number of the source."""
        ...

    @property
    def streams(self) -> Sequence[Stream]:
        """The streams that are read of it."""
        ...


@dataclass(frozen=True, slots=True)
class JournalSource:
    """The journal as a source whose entries are reacted to."""

    engine: Engine
    registry: Registry
    name: str = NAME
    id: int = SOURCE
    streams: Sequence[Stream] = (STREAM,)


def run_reactions(of: Reacting) -> int:
    """Give every reaction the final facts that it has not seen; how much was asked for.

    Only facts below which nothing is missing are given, so that the tables as of
    their blocks are whole.
    """
    own = {
        each.id: each
        for each in of.registry.reactions.values()
        if each.event.spec.in_journal == (of.id == SOURCE)
    }
    with of.engine.connect() as connection:
        events = {name: each.event for name, each in own.items()}
        waiting = outbox.unseen(connection, of.id, events)
    made = 0
    for each in (own[name] for name in own if name in waiting):
        seen = BUNDLE
        while seen >= BUNDLE:
            seen, asked = _run(of, each)
            made += asked
    return made


def _run(of: Reacting, reaction: Reaction) -> tuple[int, int]:
    with of.engine.begin() as connection:
        final = whole_and_final(connection, of)
        if final is None:
            return 0, 0
        reached = outbox.lock_reaction(connection, of.id, reaction.id)
        facts = outbox.facts_between(
            connection, reaction.event, of.id,
            after=reached, until=final, limit=BUNDLE,
        )  # fmt: skip
        asked = sum(_react(connection, of, reaction, fact) for fact in facts)
        if facts:
            last = facts[-1].position
            outbox.move_reaction(connection, of.id, reaction.id, last)
            log.info(
                "reacted chain=%s reaction=%s facts=%d asked=%d",
                of.name, reaction.id, len(facts), asked,
            )  # fmt: skip
    return len(facts), asked


def whole_and_final(connection: Connection, of: Reacting) -> int | None:
    """The last final block below which no block of any stream is missing."""
    row = sources.by_id(connection, of.id)
    if row.final < 0:
        return None
    gaps = coverage.first_missing(
        connection, of.id, of.streams, BlockRange(0, row.final)
    )
    holes = [gap.first for ranges in gaps.values() for gap in ranges]
    lowest = min(holes, default=row.final + 1)
    return lowest - 1 if lowest > 0 else None


def _react(
    connection: Connection, of: Reacting, reaction: Reaction, fact: FactSeen
) -> int:
    tables = ReadTables(
        connection,
        of.id,
        time=fact.row.block_time,
        as_of=height_of(fact.position),
        plan=of.streams,
        settings=of.registry.settings,
    )
    cause = f"{reaction.id}@{fact.position}"
    return sum(
        ask(connection, of.registry, of.id, item, key=once_key, cause=cause)
        for item in reaction.react(fact.row, tables)
    )


def once_key(command: Command) -> str:
    """Return the idempotency key of a command with `once_per`."""
    names = command.spec.once_per or tuple(command.values)
    return outbox.request_key(command.spec.slug, [command.values[n] for n in names])


def ask(
    connection: Connection,
    registry: Registry,
    source: int,
    item: Asked | Withdrawal,
    *,
    key: Callable[[Command], str],
    cause: str,
    actor: Actor = ACTOR,
) -> bool:
    """Ask for a command, once for each key, or append an entry; whether it is new.

    A withdrawal is new when the command was not withdrawn before.
    """
    now = datetime.now(UTC)
    if isinstance(item, Withdrawal):
        slug = item.command.spec.slug
        return outbox.withdraw(
            connection,
            source,
            key=outbox.request_key(slug, item.values),
            kind=slug,
            because=item.because,
            cause=cause,
            now=now,
        )
    if isinstance(item, Notice):
        return notices.ask(connection, item, cause=cause, now=now)
    if not isinstance(item, Command):
        append(connection, registry, item, actor=actor, now=now)
        return True
    return outbox.request_command(
        connection,
        source,
        key=key(item),
        kind=item.spec.slug,
        arguments=item.as_json(),
        cause=cause,
        now=now,
    )
