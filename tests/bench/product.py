"""(b) Chainfold's backfill, as a process: product.py URL DATABASE_URL WORKERS."""

import asyncio
import json
import resource
import sys
from contextlib import asynccontextmanager
from functools import partial

from bench.declarations import REGISTRY
from bench.recording import CHAIN_ID, FACTORY, TOKEN
from db import sources
from db.engine import connect
from db.schema import migrate
from indexer.backfill import run_backfill
from indexer.chain import Chain
from indexer.evm.client import RpcClient
from indexer.evm.filters import FollowedContract
from indexer.evm.finality import Ibft
from indexer.evm.source import EvmSource
from indexer.source import Child
from indexer.streams import Wanted, plan_streams

ADDRESSES = {
    "Token": {bytes.fromhex(TOKEN[2:]): 0},
    "Factory": {bytes.fromhex(FACTORY[2:]): 0},
}


@asynccontextmanager
async def open_chain(url, database_url):
    engine = connect(database_url)
    with engine.begin() as connection:
        row = sources.register(
            connection, name="bench", chain_id=f"eip155:{CHAIN_ID}", ordinals="rank"
        )
        known = [Child(*each) for each in sources.children(connection, row.id)]
    followed = [
        FollowedContract(contract, ADDRESSES.get(name, {}), REGISTRY.events_of(name))
        for name, contract in REGISTRY.contracts.items()
    ]
    source = EvmSource(
        "bench", f"eip155:{CHAIN_ID}", RpcClient([url], CHAIN_ID), followed, Ibft(),
        known_children=known,
    )  # fmt: skip
    streams = plan_streams(REGISTRY, Wanted(0, ADDRESSES))
    yield Chain(engine, REGISTRY, source, row.id, streams)
    await source.close()
    engine.dispose()


def main():
    url, database_url, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    engine = connect(database_url)
    migrate(engine, REGISTRY)
    engine.dispose()
    done = asyncio.run(
        run_backfill(partial(open_chain, url, database_url), workers=workers)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(json.dumps({"facts": done.facts, "peak_mb": max(peak, children)}))


if __name__ == "__main__":
    main()
