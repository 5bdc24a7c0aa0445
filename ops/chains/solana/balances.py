"""Balances of followed token accounts, compared with the chain: once, or on and on."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from db import sources
from db.coverage import Stream
from db.declare import TokenMoved
from db.engine import Refused
from db.errors import DatabaseError
from db.registry import Registry
from db.schema import unchanged
from db.solana import wallets
from db.solana.wallets import WALLET
from idl.base58 import to_base58
from indexer import metrics
from indexer.errors import IndexerError
from indexer.solana.balances import (
    BalanceComparison,
    HeldTokens,
    compare_balances,
    held_tokens,
    wallets_of,
)
from indexer.solana.client import SolanaClient
from indexer.solana.wallets import accounts_calls
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
    client = solana_client(settings, chain, engine)
    try:
        wanted = await _places(client, chain.name, engine, token_streams(streams))
        reported = await held_tokens(client, list(wanted))
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
    wanted: Mapping[str, Stream],
    reported: Sequence[HeldTokens],
) -> BalanceComparison:
    with unchanged(engine, registry) as connection:
        row = sources.find(connection, name)
        if row is None:
            return BalanceComparison(unread=list(wanted))
        return compare_balances(connection, row.id, wanted, reported)


async def _places(
    client: SolanaClient, name: str, engine: Engine, streams: Sequence[Stream]
) -> dict[str, Stream]:
    """The addresses to compare, each with the stream by which it is read.

    Of a wallet these are the accounts that it has now, and those that it had.
    """
    found = {each.filter: each for each in streams if not wallets_of([each])}
    by_filter = {each.filter: each for each in streams if wallets_of([each])}
    for filter_, stream in by_filter.items():
        wallet = filter_.removeprefix(WALLET)
        told = [await client.call(call) for call in accounts_calls(wallet)]
        keys = {each.pubkey for answer in told for each in answer.value}
        found |= {key: found.get(key, stream) for key in keys}
    for filter_, key in await asyncio.to_thread(_known, engine, name, list(by_filter)):
        address = to_base58(key)
        found.setdefault(address, by_filter[filter_])
    return found


def _known(engine: Engine, name: str, filters: Sequence[str]) -> set[tuple[str, bytes]]:
    """The token accounts that were found of wallets."""
    with engine.connect() as connection:
        row = sources.find(connection, name) if filters else None
        return wallets.accounts(connection, row.id, filters) if row else set()


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
