"""Reactions: final facts in, wishes out, each exactly once.

One transaction for each bundle of facts: the reaction's place is locked, the reaction
is given each fact with the tables as of its block, and its wishes and its new place
commit together. Killed anywhere, it begins again where it was.
"""

import logging
from datetime import UTC, datetime

from sqlalchemy import Connection

from db import coverage, outbox, sources
from db.declare import Reaction
from db.outbox import FactSeen
from db.position import BlockRange, height_of
from db.reads.tables import ReadTables
from indexer.chain import Chain

BUNDLE = 50

log = logging.getLogger(__name__)


def run_reactions(chain: Chain) -> int:
    """Give every reaction the final facts that it has not seen; how many wishes.

    Only facts below which nothing is missing are given, so that the tables as of
    their blocks are whole.
    """
    made = 0
    for each in chain.registry.reactions.values():
        while True:
            seen, wishes = _run(chain, each)
            made += wishes
            if seen < BUNDLE:
                break
    return made


def _run(chain: Chain, reaction: Reaction) -> tuple[int, int]:
    with chain.engine.begin() as connection:
        final = _whole_and_final(connection, chain)
        if final is None:
            return 0, 0
        reached = outbox.lock_reaction(connection, chain.id, reaction.id)
        facts = outbox.facts_between(
            connection, reaction.event, chain.id,
            after=reached, until=final, limit=BUNDLE,
        )  # fmt: skip
        wishes = sum(_react(connection, chain, reaction, fact) for fact in facts)
        if facts:
            last = facts[-1].position
            outbox.move_reaction(connection, chain.id, reaction.id, last)
            log.info(
                "reacted chain=%s reaction=%s facts=%d wishes=%d",
                chain.name, reaction.id, len(facts), wishes,
            )  # fmt: skip
    return len(facts), wishes


def _whole_and_final(connection: Connection, chain: Chain) -> int | None:
    """The last final block below which no block of any stream is missing."""
    row = sources.by_id(connection, chain.id)
    if row.final < 0:
        return None
    gaps = coverage.first_missing(
        connection, chain.id, chain.streams, BlockRange(0, row.final)
    )
    holes = [gap.first for ranges in gaps.values() for gap in ranges]
    lowest = min(holes, default=row.final + 1)
    return lowest - 1 if lowest > 0 else None


def _react(
    connection: Connection, chain: Chain, reaction: Reaction, fact: FactSeen
) -> int:
    tables = ReadTables(
        connection,
        chain.id,
        time=fact.row.block_time,
        as_of=height_of(fact.position),
        plan=chain.streams,
    )
    made = 0
    for command in reaction.react(fact.row, tables):
        names = command.spec.once_per or tuple(command.values)
        key = [command.values[name] for name in names]
        made += outbox.wish(
            connection,
            chain.id,
            key=outbox.wish_key(command.spec.slug, key),
            kind=command.spec.slug,
            arguments=command.as_json(),
            cause=f"{reaction.id}@{fact.position}",
            now=datetime.now(UTC),
        )
    return made
