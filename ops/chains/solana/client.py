"""Clients of Solana nodes, as the settings describe them."""

from sqlalchemy import Engine

from indexer.rpc.client import ATTEMPTS
from indexer.solana.client import SolanaClient
from ops.chains.limits import PostgresLimits
from ops.settings import ChainSettings, Settings


def solana_client(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine | None,
    attempts: int = ATTEMPTS,
) -> SolanaClient:
    """A client of a cluster's endpoints; with an engine their limits are remembered."""
    return SolanaClient(
        [str(url) for url in chain.rpc],
        chain.id,
        limits_store=None if engine is None else PostgresLimits(engine),
        request_timeout_seconds=settings.limits.request_timeout_seconds,
        max_inflight=settings.limits.max_inflight_requests,
        attempts=attempts,
    )
