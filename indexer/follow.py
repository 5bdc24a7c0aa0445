"""Follow a chain: `step` plans, reads and writes one range.

    step: plan the lowest gap -> read it -> write it -> a named outcome

`Wrote`, `CaughtUp`, `Leased`, `Reorged` and `Behind` are outcomes; trouble is an
exception from `indexer.errors`, and `follow` decides by its class whether to retry or
to stop.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from db import blocks, coverage, sources
from db.blocks import Header
from db.commands.watching import watched
from db.declare.fields import Encoding
from db.diagnosis import Ailment
from db.engine import Refused
from db.errors import DatabaseError, LeaseLost
from db.position import BlockRange
from indexer import metrics
from indexer.ahead import look, read, read_on
from indexer.audit import Audit, audit
from indexer.bulk import is_history, write_bulk
from indexer.chain import Chain, Planned
from indexer.errors import Late, Permanent, Reorg, Retryable
from indexer.planning import (
    first_gap,
    forget_unwritten,
    know_children,
    know_written,
    plan_range,
    resize,
)
from indexer.reorg import FinalityViolated, find_fork, same_below
from indexer.streams import BLOCKS
from indexer.trouble import kind_of, recorded, tell_full_disk
from indexer.writer import Written, rewind, write_batch

WOKEN_SECONDS = 0.2  # between two polls, however often the follower is woken

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wrote:
    """A range was written."""

    written: Written
    head: Header


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Nothing is missing up to the head, or the end of the window."""

    head: Header


@dataclass(frozen=True, slots=True)
class Leased:
    """All that is missing, from block `first` on, is leased to other workers."""

    head: Header
    first: int


@dataclass(frozen=True, slots=True)
class Behind:
    """The source is behind what was written already: wait for it."""

    head: Header
    written: int


@dataclass(frozen=True, slots=True)
class Reorged:
    """Blocks from `height` on were replaced; their facts are gone again."""

    height: int
    facts: int


Outcome = Wrote | CaughtUp | Leased | Behind | Reorged


async def check_genesis(chain: Chain, pinned: bytes | None = None) -> None:
    """Compare block 0 with the one remembered or pinned; raise if it changed.

    Block 1 is remembered too: a chain started anew from the same genesis file has the
    same block 0, and another block 1.
    """
    genesis = await chain.source.header(0)
    if genesis is None:
        raise Late("the source has no block 0 yet; waiting for it")
    first = await chain.source.header(1)
    with chain.engine.begin() as connection:
        row = sources.find(connection, chain.name)
        assert row is not None
        expected = pinned or row.genesis
        if expected is not None and expected != genesis.hash:
            shown = Encoding.of_chain(row.chain_id).text
            raise FinalityViolated(
                f"block 0 is {shown(genesis.hash)} and was {shown(expected)}: this "
                "is another chain, or it was started anew. Point the settings at the "
                "right endpoint; for a new chain use another name or another database."
            )
        sources.pin_genesis(connection, chain.id, genesis.hash)
        if first is not None and first.exists and chain.window is None:
            blocks.remember(connection, chain.id, [first])


async def step(chain: Chain) -> Outcome:
    """Write the lowest missing range, or return why there is nothing to write."""
    try:
        seen = await look(chain)
    except Reorg as reorg:  # what was read did not become final
        return await _rewind(chain, reorg.height, str(reorg))
    head, final = seen.head, seen.final
    known, tip, wallets = await asyncio.to_thread(_observe, chain, head, final)
    chain.watch(wallets)
    if known is not None and known.hash != head.hash:
        reason = f"head {head.height} has another hash"
        return await _rewind(chain, head.height, reason)
    if tip is not None and tip.height > head.height and chain.window is None:
        if not await same_below(chain.engine, chain.source, chain.id, head.height):
            reason = f"blocks up to the head, {head.height}, are other ones"
            return await _rewind(chain, head.height, reason)
        return Behind(head, tip.height)
    # A backfill leaves to the follower what may yet be undone.
    reach = head.height if chain.window is None else min(head.height, final)
    planned = await asyncio.to_thread(plan_range, chain, reach)
    if planned is None:
        chain.drop_ahead()
        left = await asyncio.to_thread(first_gap, chain, reach)
        if left is not None:
            return Leased(head, left)
        chain.caught_up = True
        return CaughtUp(head)
    if chain.ahead and chain.ahead[0].planned != planned:
        forget_unwritten(chain)
    await know_children(chain, planned[0].first, planned[1])
    try:
        written = await _read_and_write(chain, planned, reach, final)
    except Reorg as reorg:
        return await _rewind(chain, reorg.height, str(reorg))
    except BaseException:
        forget_unwritten(chain)
        raise
    know_written(chain, (written.blocks, planned[1]), written)
    resize(chain, written.blocks.blocks, written.facts)
    _count(chain, written, head)
    return Wrote(written, head)


async def follow(
    chain: Chain,
    stop: asyncio.Event,
    *,
    poll_seconds: float = 1.0,
    stall_seconds: float = 30.0,
    audit_blocks: int = 0,
) -> None:
    """Step until `stop` is set; raises when the chain must not be followed further.

    `audit_blocks` of history are proved between two polls while nothing is to be read.
    A wake-up (`chain.woken`) ends the wait for the next poll.
    """
    failures = 0
    audited = Audit()
    moved = time.monotonic()
    while not stop.is_set():
        chain.stepping_since = time.monotonic()
        quiet = chain.stepping_since - moved > stall_seconds
        chain.woken.clear()  # before the head is asked for: one that comes now stays
        try:
            outcome = await step(chain)
            if isinstance(outcome, (Wrote, Reorged)):
                moved = time.monotonic()
                quiet = False
            await _settle(chain, outcome, quiet)
            if isinstance(outcome, CaughtUp) and audit_blocks:
                await _audit(chain, audited, audit_blocks)
        except LeaseLost:
            raise  # the new holder of the lease records the chain's state
        except (Retryable, Refused) as error:
            failures += 1
            await _trouble(chain, "stalled" if quiet else "retrying", error)
            await _pause(stop, backoff(failures))
            continue
        except (Permanent, DatabaseError) as error:
            await stop_chain(chain, error)
            raise
        except Exception as error:
            log.exception("chain_broken chain=%s", chain.name)
            await stop_chain(chain, error, f"{type(error).__name__}: {error}")
            raise
        failures = 0
        if not isinstance(outcome, (Wrote, Reorged)):
            await _pause(stop, min(poll_seconds, WOKEN_SECONDS))
            await _pause(stop, poll_seconds - WOKEN_SECONDS, chain.woken)


async def _audit(chain: Chain, done: Audit, most: int) -> None:
    """Prove a few blocks of history; failures are retried later."""
    try:
        proved = await audit(chain, done, most)
    except Reorg as reorg:
        await _rewind(chain, reorg.height, str(reorg))
    except (Retryable, Refused) as error:
        log.info("audit_postponed chain=%s cause=%s", chain.name, first_line(error))
    else:
        if proved is not None:
            metrics.AUDITED.labels(chain.name).inc(proved.blocks)


def _observe(
    chain: Chain, head: Header, final: int
) -> tuple[Header | None, Header | None, dict[bytes, int]]:
    """Record the head; our block at its height, our highest, and the wallets to watch.

    A block is recorded as final when it was final already as it was read, or when the
    head is one that we have too, and if nothing is missing below: all of it hangs
    together then. What was read before it was final may since have been replaced, and
    a head may be made up.
    """
    with chain.engine.begin() as connection:
        known = blocks.stored(connection, chain.id, [head.height]).get(head.height)
        tip = blocks.tip(connection, chain.id)
        sure = chain.sure
        if known is not None and known.hash == head.hash:
            sure = max(sure, final)
        if chain.window is not None or _gap_below(connection, chain, sure):
            sure = -1
        sources.observe(
            connection, chain.id, head=head.height, head_time=head.time, final=sure
        )
        if sure > chain.told_final:
            sources.notify_final(connection, chain.id, sure)
        wallets = {} if chain.window is not None else watched(connection, chain.id)
    chain.told_final = max(chain.told_final, sure)
    metrics.HEAD.labels(chain.name).set(head.height)
    if sure >= 0:
        metrics.FINAL.labels(chain.name).set(sure)
    return known, tip, wallets


def _gap_below(connection: Connection, chain: Chain, height: int) -> bool:
    if height < 0:
        return False
    streams = [stream for stream in chain.streams if stream.event == BLOCKS]
    within = BlockRange(0, height)
    return bool(coverage.first_missing(connection, chain.id, streams, within))


async def _read_and_write(
    chain: Chain, planned: Planned, reach: int, final: int
) -> Written:
    started = time.monotonic()
    ahead = await read(chain, planned, reach, final)
    metrics.FETCH_SECONDS.labels(chain.name).observe(time.monotonic() - started)
    await read_on(chain, reach, final, planned)
    written = None
    if is_history(chain, ahead):
        written = await write_bulk(chain, ahead, reach, final)
    if written is None:
        batch = ahead.task.result()
        written = await asyncio.to_thread(
            write_batch,
            chain.engine, chain.registry, chain.id, batch, planned[1], chain.guard,
        )  # fmt: skip
    chain.sure = max(chain.sure, min(ahead.final, written.blocks.last))
    return written


async def _rewind(chain: Chain, suspect: int, reason: str) -> Reorged:
    forget_unwritten(chain)
    chain.sure = -1
    with chain.engine.connect() as connection:
        row = sources.find(connection, chain.name)
    final = -1 if row is None else row.final
    height = await find_fork(chain.engine, chain.source, chain.id, final, suspect)
    facts = await asyncio.to_thread(
        rewind, chain.engine, chain.registry, chain.id, height, chain.guard
    )
    metrics.REORGS.labels(chain.name).inc()
    log.warning(
        "reorg_rewound chain=%s block=%d facts=%d reason=%s",
        chain.name, height, facts, reason,
    )  # fmt: skip
    return Reorged(height, facts)


def _count(chain: Chain, written: Written, head: Header) -> None:
    metrics.WRITE_SECONDS.labels(chain.name).observe(written.seconds)
    metrics.BLOCKS.labels(chain.name).inc(written.blocks.blocks)
    metrics.FACTS.labels(chain.name).inc(written.facts)
    metrics.UNDECODABLE.labels(chain.name).inc(written.undecodable)
    metrics.CHECKPOINT.labels(chain.name).set(written.blocks.last)
    lag = max(head.height - written.blocks.last, 0)
    metrics.LAG_BLOCKS.labels(chain.name).set(lag)
    chain.summary.add(chain.name, written, lag)


def backoff(failures: int) -> float:
    """Seconds to wait: exponential with full jitter, at most 15."""
    return random.uniform(0.05, min(15.0, 0.25 * 2 ** min(failures, 8)))  # noqa: S311


async def _pause(
    stop: asyncio.Event, seconds: float, woken: asyncio.Event | None = None
) -> None:
    """Wait for some seconds, or until one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (stop, woken) if event]
    try:
        await asyncio.wait(
            waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for each in waits:
            each.cancel()


async def _settle(chain: Chain, outcome: Outcome, quiet: bool) -> None:
    """Record the chain's state, and renew the lease."""
    state, cause, trouble = "reading", "", ""
    if isinstance(outcome, Behind):
        state, trouble = "halted" if quiet else "behind", Ailment.NODE_LAGGING
        cause = (
            f"the endpoint is at block {outcome.head.height}, "
            f"block {outcome.written} is written"
        )
    elif isinstance(outcome, (CaughtUp, Leased)) and quiet:
        state, cause = "halted", f"no new block since {outcome.head.height}"
        trouble = Ailment.CHAIN_HALTED
    elif isinstance(outcome, CaughtUp):
        state = "following"
    await asyncio.to_thread(_set_state, chain, state, cause, trouble)


async def _trouble(chain: Chain, state: str, error: Retryable | Refused) -> None:
    """Record why the step is retried; a database failure is only logged."""
    cause = str(error)
    if isinstance(error, Refused):
        cause = f"database: {first_line(error)}"
    metrics.RETRIES.labels(chain.name).inc()
    log.warning("step_retried chain=%s state=%s cause=%s", chain.name, state, cause)
    try:
        await asyncio.to_thread(_set_state, chain, state, cause, kind_of(error))
    except Refused as unrecorded:
        log.warning(
            "state_not_recorded chain=%s error=%s", chain.name, first_line(unrecorded)
        )
        await asyncio.to_thread(tell_full_disk, chain, unrecorded)


async def stop_chain(chain: Chain, error: Exception, cause: str = "") -> None:
    """Record that a chain must not be followed further, and why.

    Raises when the database cannot record it: the caller then opens the chain again,
    which stops for the same reason.
    """
    cause = cause or str(error)
    log.error("chain_stopped chain=%s cause=%s", chain.name, cause)
    await asyncio.to_thread(_record_stop, chain, error, cause)
    metrics.STOPPED.labels(chain.name).set(1)


def _record_stop(chain: Chain, error: Exception, cause: str) -> None:
    with chain.engine.begin() as connection:
        sources.set_state(connection, chain.id, "stopped", cause)
        if isinstance(error, Permanent) and error.incident:
            sources.report_incident(
                connection, chain.id, error.incident, {"cause": cause}
            )


def _set_state(chain: Chain, state: str, cause: str, trouble: str) -> None:
    with chain.engine.begin() as connection:
        if chain.guard is not None:
            chain.guard(connection)
        sources.set_state(connection, chain.id, state, cause, trouble)
    recorded(chain)


def first_line(error: Exception) -> str:
    """The gist of a database error, without statement and parameters."""
    return str(error).split("\n", 1)[0]
