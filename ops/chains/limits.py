"""Limits of endpoints that were learnt, kept in the database."""

import asyncio
from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from db.limits import load_limits, save_limits
from indexer.rpc.limits import EndpointLimits


@dataclass(frozen=True, slots=True)
class PostgresLimits:
    """Learnt limits kept in the database; a `LimitsStore`."""

    engine: Engine

    async def load(self, endpoint: str) -> EndpointLimits:
        """Return stored limits."""
        return EndpointLimits(
            **await asyncio.to_thread(load_limits, self.engine, endpoint)
        )

    async def save(self, endpoint: str, limits: EndpointLimits) -> None:
        """Store learnt limits."""
        await asyncio.to_thread(save_limits, self.engine, endpoint, asdict(limits))
