"""`migrate --refetch`: the positions of a chain's facts by one way of counting logs."""

import asyncio
from collections.abc import Callable, Mapping

from sqlalchemy import Engine

from db import sources
from db.registry import Registry
from indexer.renumber import find_misplaced, renumber
from ops.indexing import open_chain
from ops.running import acquire_lease_now
from ops.settings import LogQuery, Settings


def renumber_chain(
    settings: Settings,
    name: str,
    engine: Engine,
    registry: Registry,
    agree: Callable[[Mapping[int, int]], bool],
) -> str:
    """Renumber facts of another numbering; returns a summary.

    `agree` is given how many facts of which blocks these are; it says whether to go on.
    """
    with engine.connect() as connection:
        row = sources.find(connection, name)
    if settings.chains[name].logs is LogQuery.ALL or row is None:
        return "its positions do not depend on how nodes count logs"
    lease = acquire_lease_now(engine, row.id, name)

    async def work() -> str:
        async with open_chain(settings, name, engine, registry) as chain:
            chain.guard = lease.guard
            found = await find_misplaced(chain)
            if found and not agree(found):
                return "nothing was changed"
            await renumber(chain, found)
            return f"{sum(found.values())} facts have another position now"

    try:
        return asyncio.run(work())
    finally:
        lease.release(engine)
