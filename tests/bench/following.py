"""Chainfold's follower, as a process: following.py URL DATABASE_URL SECONDS.

Prints by how many blocks it was behind the head, twice in a second.
"""

import asyncio
import json
import sys

from bench.declarations import REGISTRY
from bench.product import open_chain
from db import coverage
from db.engine import connect
from db.schema import migrate
from indexer.follow import follow
from indexer.streams import BLOCKS


async def main(url, database_url, seconds):
    engine = connect(database_url)
    migrate(engine, REGISTRY)
    behind = []
    async with open_chain(url, database_url) as chain:
        [stream] = [each for each in chain.streams if each.event == BLOCKS]
        stop = asyncio.Event()
        following = asyncio.create_task(follow(chain, stop))
        for _ in range(2 * seconds):
            await asyncio.sleep(0.5)
            head = await chain.source.head()
            with engine.connect() as connection:
                behind.append(
                    head.height + 1 - coverage.reached(connection, chain.id, stream)
                )
        stop.set()
        await following
    print(json.dumps({"behind": behind}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
