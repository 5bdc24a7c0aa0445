"""Balances of followed token accounts, compared with the chain: once, or on and on."""

import asyncio
import logging
import time
from collections.abc import Sequence

from sqlalchemy import Engine

from db import sources
from db.coverage import Stream
from db.declare import TokenMoved
from db.engine import Refused
from db.errors import DatabaseError
from db.registry import Registry
from db.schema import unchanged
from indexer import metrics
from indexer.errors import IndexerError
from indexer.solana.balances import (
    BalanceComparison,
    HeldTokens,
    compare_balances,
    held_tokens,
)
from ops.chains.solana.client import solana_client
from ops.settings import ChainSettings, Settings

PATIENCE_SECONDS = 30.0  # until a follower has read what a node has told already
LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


def token_streams(streams: Sequence[Stream]) -> list[Stream]:
    """Those of a chain's streams that are of token movements."""
    return [stream for stream in streams if stream.event == TokenMoved.spec.id]


async def compare(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    streams: Sequence[Stream],
    *,
    patience_seconds: float | None = None,
) -> BalanceComparison:
    """Compare the balances of a cluster's followed token accounts with the chain.

    Where the index is not as far as the chain, or not rid of a fork yet, it is looked
    at again for a time. Raises Retryable when no endpoint answers.
    """
    wanted = token_streams(streams)
    client = solana_client(settings, chain, engine)
    try:
        reported = await held_tokens(client, [stream.filter for stream in wanted])
    finally:
        await client.close()
    patience = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
    ends_at = time.monotonic() + patience
    while True:
        found = await asyncio.to_thread(
            _look, chain.name, engine, registry, wanted, reported
        )
        doubtful = found.differences or found.unread
        if not doubtful or time.monotonic() >= ends_at:
            return found
        await asyncio.sleep(LOOK_SECONDS)


def _look(
    name: str,
    engine: Engine,
    registry: Registry,
    streams: Sequence[Stream],
    reported: Sequence[HeldTokens],
) -> BalanceComparison:
    with unchanged(engine, registry) as connection:
        row = sources.find(connection, name)
        if row is None:
            return BalanceComparison(unread=[stream.filter for stream in streams])
        return compare_balances(connection, row.id, streams, reported)


async def keep_comparing(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    streams: Sequence[Stream],
) -> None:
    """Compare from time to time, and log each difference as an error; never ends."""
    if not token_streams(streams) or not chain.compare_seconds:
        return
    while True:
        await asyncio.sleep(chain.compare_seconds)
        try:
            found = await compare(settings, chain, engine, registry, streams)
        except (IndexerError, DatabaseError, Refused) as error:
            log.warning("balances_not_compared chain=%s cause=%s", chain.name, error)
            continue
        metrics.BALANCES_DIFFER.labels(chain.name).set(len(found.differences))
        for each in found.differences:
            log.error(
                "balance_differs chain=%s account=%s folded=%d held=%d slot=%d "
                "since=%d",
                chain.name, each.account, each.folded, each.held, each.slot,
                each.since,
            )  # fmt: skip
