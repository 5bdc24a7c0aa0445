"""Proving history a little at a time, while there is nothing else to read.

Blocks far below the head are written on the node's word, or on their blooms. The audit
reads a few of them again with all that proves them (`Source.prove`), compares every
fact with those that are stored, and raises their levels. What it finds wrong stops the
chain: a node lied when the blocks were read.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection

from db import blocks, coverage, proofs, validators
from db.copy import count_facts, differing_facts
from db.coverage import Stream
from db.position import BlockRange
from db.proofs import HeaderProof, Level
from db.reads.freshness import checkpoint
from indexer.chain import Chain
from indexer.errors import Permanent, Reorg
from indexer.source import Batch
from indexer.streams import events_of

log = logging.getLogger(__name__)


class FactsDiffer(Permanent):
    """Facts that were written are not those that the blocks prove."""

    incident = "facts_differ"


@dataclass(slots=True)
class Audit:
    """The progress of one process in auditing a chain, for each level.

    Blocks that could not be raised to a level are passed over until the next start. A
    header's level that the first of some blocks did not reach is given up until then:
    the blocks above it need it.
    """

    reached: dict[str, int] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)


async def audit(chain: Chain, done: Audit, most: int) -> BlockRange | None:
    """Prove the next blocks of history, at most so many; which they were.

    Raises Reorg when they are not the blocks that were written, FactsDiffer when their
    facts are not those that are stored, and Retryable when the source cannot tell.
    """
    for level in chain.source.provable():
        if level.word in done.given_up:
            continue
        chosen = await asyncio.to_thread(_next, chain, done, level, most)
        if chosen is None:
            continue
        streams = [each for each in chain.streams if each.start <= chosen.last]
        batch = await chain.source.prove(chosen, events_of(streams))
        await asyncio.to_thread(_record, chain, batch, streams)
        done.reached[level.word] = chosen.last + 1
        proof = batch.headers[0].proof
        if isinstance(level, HeaderProof) and proof.header < level:
            done.given_up.add(level.word)
        return chosen
    return None


def _next(chain: Chain, done: Audit, level: Level, most: int) -> BlockRange | None:
    """The lowest blocks of those read that lack a level, and were not passed over."""
    with chain.engine.connect() as connection:
        events = {stream.event for stream in chain.streams}
        last = checkpoint(connection, chain.id, events, chain.streams)
        first = min(stream.start for stream in chain.streams)
        first = max(first, done.reached.get(level.word, 0))
        if last is None or last < first:
            return None
        within = BlockRange(first, last)
        gaps = proofs.lacking(connection, chain.id, level, within, 1)
    if not gaps:
        return None
    return BlockRange(gaps[0].first, min(gaps[0].last, gaps[0].first + most - 1))


def _record(chain: Chain, batch: Batch, streams: Collection[Stream]) -> None:
    """Compare the facts with those that are stored, then store what is proved."""
    with chain.engine.begin() as connection:
        if chain.guard is not None:
            chain.guard(connection)
        broken = blocks.broken_link(connection, chain.id, batch.headers)
        if broken is not None:
            raise Reorg(broken, f"block {broken} is not the one that was written")
        wrong = _differing(connection, chain, batch, streams)
        if wrong:
            listed = ", ".join(f"{n} of {event}" for event, n in wrong.items())
            raise FactsDiffer(
                f"blocks {batch.range} do not hold the facts that were written: "
                f"{listed} differ. An endpoint lied when they were read, or an older "
                "version could not read a log. Run `chainfold rewind "
                f"{chain.name} {batch.range.first}`, and the blocks are read again"
            )
        proofs.record(
            connection, chain.id, ((h.height, h.proof) for h in batch.headers)
        )
        if batch.validators is not None:
            validators.store(connection, chain.id, batch.validators)


def _differing(
    connection: Connection, chain: Chain, batch: Batch, streams: Collection[Stream]
) -> dict[str, int]:
    """Count by event the facts that differ.

    Facts that are only stored do not count where the settings followed more before,
    another address or earlier blocks: such facts stay, and nothing reads them.
    """
    events = sorted(events_of(streams))
    known = [chain.registry.events[event] for event in events]
    counts = count_facts(connection, chain.id, known, batch.range)
    given = {facts.event.spec.id: facts for facts in batch.facts if len(facts)}
    more = coverage.read_otherwise(connection, chain.id, streams, batch.range)
    found: dict[str, int] = {}
    for event in events:
        stored, lacking = counts.get(event, 0), 0
        if event in given:
            facts = given[event]
            stored, lacking = differing_facts(connection, chain.id, facts, batch.range)
        if count := lacking + (0 if event in more else stored):
            found[event] = count
    return found
