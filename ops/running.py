"""Following all chains in one process, until told to stop."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence

from prometheus_client import start_http_server
from sqlalchemy import Engine

from db.engine import Unavailable
from db.places import FollowerPlace, take_follower_place
from db.registry import Registry
from db.schema import ensure_key_indexes
from indexer.chain import Chain
from indexer.collector import settle_collector
from indexer.errors import Retryable
from indexer.follow import CaughtUp, backoff, first_line, follow, step
from ops.errors import OperationError
from ops.indexing import open_chain
from ops.settings import ChainSettings, Settings

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
    metrics_port: int | None = None,
) -> int:
    """Follow every chain until `stop`; returns how many had to be given up.

    A chain that cannot be followed further is stopped alone, and the others go on;
    this returns when none is left.
    """
    settle_collector()
    if metrics_port is not None:
        start_http_server(metrics_port, addr="127.0.0.1")
    loops = [
        asyncio.create_task(
            _follow_chain(settings, chain, engine, registry, stop=stop, wait=wait),
            name=chain.name,
        )
        for chain in chains
    ]
    results = await asyncio.gather(*loops, return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    for failure in failed:
        log.error("chain_given_up cause=%s", failure)
    return len(failed)


async def catch_up(
    settings: Settings, chain: ChainSettings, engine: Engine, registry: Registry
) -> None:
    """Read a chain up to its head, once."""
    async with open_chain(settings, chain.name, engine, registry) as opened:
        place = await _take_place(opened, asyncio.Event(), wait=False)
        assert place is not None
        opened.guard = place.guard
        failures = 0
        try:
            while True:
                try:
                    if isinstance(await step(opened), CaughtUp):
                        break
                except Retryable as error:
                    failures += 1
                    if failures > 20:
                        raise
                    log.warning("step_retried chain=%s cause=%s", chain.name, error)
                    await asyncio.sleep(backoff(failures))
        finally:
            place.leave(engine)


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
                place = await _take_place(opened, stop, wait=wait)
                if place is None:
                    return
                opened.guard = place.guard
                indexes = asyncio.create_task(_index_keys(opened, stop))
                try:
                    await follow(
                        opened,
                        stop,
                        poll_seconds=chain.poll_seconds,
                        stall_seconds=chain.stall_seconds,
                    )
                finally:
                    indexes.cancel()
                    with contextlib.suppress(*Unavailable):  # it is free in 30 s anyway
                        await asyncio.to_thread(place.leave, engine)
            return
        except (Retryable, *Unavailable) as error:
            failures += 1
            log.warning(
                "chain_not_open chain=%s cause=%s", chain.name, first_line(error)
            )
            await _sleep(stop, backoff(failures))


def take_place_now(engine: Engine, source: int, name: str) -> FollowerPlace:
    """The follower's place, or an error that names who has it."""
    place = take_follower_place(engine, source)
    if isinstance(place, FollowerPlace):
        return place
    raise OperationError(
        f"chain {name} is followed by {place}. Stop that process first; one that was "
        "killed frees its place after 30 seconds."
    )


async def _take_place(
    chain: Chain, stop: asyncio.Event, *, wait: bool
) -> FollowerPlace | None:
    """The follower's place; waits for it, or refuses, naming who has it."""
    told = False
    while not stop.is_set():
        place = await asyncio.to_thread(take_follower_place, chain.engine, chain.id)
        if isinstance(place, FollowerPlace):
            return place
        if not wait:
            raise OperationError(
                f"chain {chain.name} is followed by {place}. Stop that process first, "
                "or leave out --no-wait to take over when it ends."
            )
        if not told:
            log.warning("chain_waiting chain=%s followed_by=%s", chain.name, place)
            told = True
        await _sleep(stop, 1.0)
    return None


async def _index_keys(chain: Chain, stop: asyncio.Event) -> None:
    """Index facts by key once most of the chain is read."""
    while not stop.is_set():
        await asyncio.sleep(0.5)
        if chain.caught_up:
            try:
                made = await asyncio.to_thread(
                    ensure_key_indexes, chain.engine, chain.registry
                )
            except Unavailable:
                continue
            if made:
                log.info("indexes_made chain=%s count=%d", chain.name, len(made))
            return


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
