"""Follow all chains in one process, until stopped."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client import start_http_server
from sqlalchemy import Engine

from db import sources
from db.diagnosis import Ailment
from db.engine import Refused
from db.errors import DatabaseError, LeaseLost, WrongChain
from db.leases import (
    FOLLOWER_SECONDS,
    FollowerLease,
    acquire_follower_lease,
    release_leases_of_the_dead,
)
from db.position import MAX_HEIGHT
from db.registry import Registry
from db.schema import cancel_statement, ensure_key_indexes
from indexer.chain import Chain
from indexer.collector import settle_collector
from indexer.errors import Permanent, Retryable
from indexer.follow import (
    Behind,
    CaughtUp,
    Leased,
    Wrote,
    backoff,
    first_line,
    follow,
    step,
    stop_chain,
)
from indexer.planning import first_gap
from indexer.react import JournalSource
from ops.chains import kind_of
from ops.errors import OperationError
from ops.indexing import open_chain
from ops.payments import read_payments
from ops.reacting import react, schedules, sleep
from ops.settings import ChainSettings, Settings

HANGING_SECONDS = 600  # a step that takes longer hangs: another may take over
INDEX_AGAIN_SECONDS = 60.0
REACT_SECONDS = 0.5
RELEASED_SECONDS = 2.0

log = logging.getLogger(__name__)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set the event on SIGINT and SIGTERM; the range being written is finished."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


async def follow_chains(
    settings: Settings,
    chains: Sequence[ChainSettings],
    engine: Engine,
    registry: Registry,
    *,
    stop: asyncio.Event,
    wait: bool = True,
    again: bool = False,
    metrics_port: int | None = None,
) -> int:
    """Follow every chain until `stop`; returns how many had to be given up.

    A chain that cannot be followed further is stopped alone, and the others go on;
    this returns when none is left. With `again` a stopped chain is waited for until an
    operator has let it go on (`incident resolve`, `rewind`, `migrate`).
    """
    settle_collector()
    if metrics_port is not None:
        _serve_metrics(metrics_port)
    loops = []
    for chain in chains:
        follow_it = partial(
            _follow_chain, settings, chain, engine, registry, stop=stop, wait=wait
        )
        released = _follow_released(follow_it, chain.name, engine, stop, again=again)
        loops.append(asyncio.create_task(released, name=chain.name))
    journal = JournalSource(engine, registry)
    async with _beside(
        react(journal, stop, partial(schedules, settings, engine, registry)),
        read_payments(settings, engine, registry, stop),
    ):
        results = await asyncio.gather(*loops, return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    for failure in failed:
        log.error("chain_start_failed cause=%s", failure)
    return len(failed)


def _serve_metrics(port: int) -> None:
    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise OperationError(
            f"metrics cannot be served on 127.0.0.1:{port}: {error.strerror}. Give "
            "another --metrics-port."
        ) from error


async def catch_up(
    settings: Settings, chain: ChainSettings, engine: Engine, registry: Registry
) -> int | None:
    """Read a chain up to the head that it has now; the first block left to others.

    What live workers have leased is theirs, and is not waited for; nor is what the
    chain grows by meanwhile.
    """
    async with open_chain(settings, chain.name, engine, registry) as opened:
        lease = await _acquire_lease(opened, asyncio.Event(), wait=False)
        assert lease is not None
        opened.guard = lease.guard
        failures, until = 0, MAX_HEIGHT
        try:
            while True:
                try:
                    outcome = await step(opened)
                    failures = 0
                    if isinstance(outcome, Wrote):
                        until = min(until, outcome.head.height)
                        if outcome.head.height > until:  # it grows meanwhile
                            left = await asyncio.to_thread(first_gap, opened, until)
                            if left is None:
                                outcome = CaughtUp(outcome.head)
                    if isinstance(outcome, CaughtUp):
                        await asyncio.to_thread(_record_caught_up, opened)
                        return None
                    if isinstance(outcome, Leased):
                        freed = release_leases_of_the_dead(engine, opened.id)
                        if not freed:
                            return outcome.first
                    if isinstance(outcome, Behind):
                        await asyncio.sleep(chain.poll_seconds)
                except Retryable as error:
                    failures += 1
                    if failures > 20:
                        raise
                    log.warning("step_retried chain=%s cause=%s", chain.name, error)
                    await asyncio.sleep(backoff(failures))
        except Permanent as error:
            await stop_chain(opened, error)
            raise
        finally:
            lease.release(engine)


def _record_caught_up(chain: Chain) -> None:
    with chain.engine.begin() as connection:
        sources.set_state(connection, chain.id, "following", "")


async def _follow_released(
    follow_it: Callable[[], Coroutine[None, None, None]],
    name: str,
    engine: Engine,
    stop: asyncio.Event,
    *,
    again: bool,
) -> None:
    """Follow a chain; with `again` restart it whenever its incident is resolved."""
    while True:
        try:
            await follow_it()
            return
        except WrongChain:
            raise  # the settings are wrong: nothing done in the database ends it
        except (Permanent, DatabaseError) as error:
            if not again or stop.is_set():
                raise
            log.error(
                "chain_start_failed chain=%s: waiting for an operator; cause=%s",
                name, error,
            )  # fmt: skip
            stopped = True
            while stopped:
                await sleep(stop, RELEASED_SECONDS)
                if stop.is_set():
                    raise
                stopped = await asyncio.to_thread(_is_stopped, engine, name)
        log.info("chain_released chain=%s", name)


def _is_stopped(engine: Engine, name: str) -> bool:
    """Whether a chain is stopped; True while the database does not answer."""
    try:
        with engine.connect() as connection:
            row = sources.find(connection, name)
    except Refused:
        return True
    return row is None or row.state == "stopped"


async def _follow_chain(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    *,
    stop: asyncio.Event,
    wait: bool,
) -> None:
    failures = 0
    while not stop.is_set():
        try:
            async with open_chain(settings, chain.name, engine, registry) as opened:
                lease = await _acquire_lease(opened, stop, wait=wait)
                if lease is None:
                    return
                opened.guard = lease.guard
                async with _beside(
                    _index_keys(opened, stop),
                    _keep_place(opened),
                    react(opened, stop),
                    kind_of(chain).keep_listening(opened, chain),
                    kind_of(chain).keep_comparing(
                        settings, chain, engine, registry, list(opened.streams)
                    ),
                ):
                    try:
                        await follow(
                            opened,
                            stop,
                            poll_seconds=chain.poll_seconds,
                            stall_seconds=chain.stall_seconds,
                            audit_blocks=chain.audit_blocks,
                        )
                    finally:
                        with contextlib.suppress(Refused):  # it is free in 30 s anyway
                            await asyncio.to_thread(lease.release, engine)
            return
        except LeaseLost as error:
            if not wait:
                raise
            log.warning("lease_lost chain=%s cause=%s", chain.name, error)
        except (Retryable, Refused) as error:
            failures += 1
            log.warning(
                "chain_not_open chain=%s cause=%s", chain.name, first_line(error)
            )
            await sleep(stop, backoff(failures))


@asynccontextmanager
async def _beside(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these for the length of the block, and see them end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_place(chain: Chain) -> None:
    """Renew the lease while a step takes long, unless it hangs."""
    while True:
        await asyncio.sleep(FOLLOWER_SECONDS / 3)
        taken = time.monotonic() - chain.stepping_since
        if taken < HANGING_SECONDS:
            with contextlib.suppress(Refused, LeaseLost):  # the next write sees it
                await asyncio.to_thread(_renew_place, chain)
                if taken > FOLLOWER_SECONDS / 2:
                    await asyncio.to_thread(_tell_long_step, chain, taken)


def _tell_long_step(chain: Chain, seconds: float) -> None:
    """Record what a step waits for, if its endpoints are the cause.

    A silent endpoint is asked again for minutes before the step fails.
    """
    verdicts = chain.source.endpoints()
    if not verdicts or not all(verdicts.values()):
        return
    cause = f"one step has taken {seconds:.0f} s; " + "; ".join(verdicts.values())
    with chain.engine.begin() as connection:
        sources.set_state(
            connection, chain.id, "retrying", cause, Ailment.ENDPOINT_DOWN
        )


def _renew_place(chain: Chain) -> None:
    assert chain.guard is not None
    with chain.engine.begin() as connection:
        chain.guard(connection)


def acquire_lease_now(engine: Engine, source: int, name: str) -> FollowerLease:
    """Acquire the follower's lease; raises an error that names its holder."""
    lease = acquire_follower_lease(engine, source)
    if isinstance(lease, FollowerLease):
        return lease
    raise OperationError(
        f"chain {name} is followed by {lease}. Stop that process first; one that was "
        "killed on another host loses its lease after 30 seconds."
    )


async def _acquire_lease(
    chain: Chain, stop: asyncio.Event, *, wait: bool
) -> FollowerLease | None:
    """Acquire the follower's lease; waits for it, or raises naming its holder."""
    reported = False
    while not stop.is_set():
        lease = await asyncio.to_thread(acquire_follower_lease, chain.engine, chain.id)
        if isinstance(lease, FollowerLease):
            return lease
        if not wait:
            raise OperationError(
                f"chain {chain.name} is followed by {lease}. Stop that process first, "
                "or leave out --no-wait to take over when it ends."
            )
        if not reported:
            log.warning("chain_waiting chain=%s followed_by=%s", chain.name, lease)
            reported = True
        await sleep(stop, 1.0)
    return None


async def _index_keys(chain: Chain, stop: asyncio.Event) -> None:
    """Index facts by key once most of the chain is read; given up at the end."""
    working: list[int] = []
    ending = False

    def begin(pid: int) -> bool:
        working[:] = [pid]
        return not ending

    while not stop.is_set():
        await asyncio.sleep(0.5)
        if not chain.caught_up:
            continue
        make = partial(ensure_key_indexes, chain.engine, chain.registry, begin=begin)
        try:
            made = await asyncio.to_thread(make)
        except Refused as error:
            log.warning(
                "indexes_not_made chain=%s cause=%s", chain.name, first_line(error)
            )
            await sleep(stop, INDEX_AGAIN_SECONDS)
            continue
        except asyncio.CancelledError:
            ending = True  # or the process could not end before the index is made
            for pid in working:
                with contextlib.suppress(Refused):
                    await asyncio.to_thread(cancel_statement, chain.engine, pid)
            raise
        if made:
            log.info("indexes_made chain=%s count=%d", chain.name, len(made))
        return
