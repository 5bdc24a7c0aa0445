"""Write a history that costs nothing to read: folding.py DATABASE_URL FACTS BULK_FACTS.

The facts are transfers of two tokens among 100,000 holders; every transfer touches two
rows of three folds and two keys. Prints the seconds from the first range to the last,
the peak memory, and the CPU seconds of the process itself.
"""

import asyncio
import json
import resource
import sys
import time

import numpy as np

from bench.declarations import token
from db import sources
from db.blocks import Header
from db.coverage import Stream
from db.declare import Address, Count, Event, Key, Max, Projection, Sum, Uint
from db.engine import connect
from db.facts import FactColumns
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate
from db.wire import numeric_column
from indexer.chain import Chain
from indexer.follow import CaughtUp, step
from indexer.source import Batch

HOLDERS, PER_BLOCK = 100_000, 500


class Transfer(Event):
    """A token moved."""

    source = token
    token = Address(emitter=True)
    sender = Address(param="from")
    recipient = Address(param="to")
    value = Uint()


class Holder(Projection):
    """One row per token and holder."""

    token = Key()
    holder = Key()

    balance = Sum(
        Transfer.keyed(holder="recipient").value, -Transfer.keyed(holder="sender").value
    )
    received = Count(Transfer.keyed(holder="recipient"))
    received_at = Max(Transfer.keyed(holder="recipient").block_time)


REGISTRY = Registry.of([Transfer], [Holder])


class Made:
    """A source whose blocks are made up from their heights; all of them are final."""

    name = "made"

    def __init__(self, blocks):
        self.last = blocks - 1
        self.holders = np.random.default_rng(1).integers(
            0, 256, (HOLDERS, 20), dtype=np.uint8
        )
        self.tokens = np.array([[7] * 20, [8] * 20], dtype=np.uint8)

    def at(self, height):
        def name(number):
            return number.to_bytes(32, "big", signed=True)

        return Header(height, name(height), name(height - 1), 1_700_000_000 + height)

    async def head(self):
        return self.at(self.last)

    async def final_height(self, head):
        return head.height

    def watch(self, wallets):
        pass

    async def fetch(self, wanted, events, *, follows=False):
        return await asyncio.to_thread(self.made, wanted)

    def made(self, wanted):
        heights = np.arange(wanted.first, wanted.last + 1, dtype=np.int64)
        count = len(heights) * PER_BLOCK
        dice = np.random.default_rng(wanted.first)
        words = np.zeros((count, 32), dtype=np.uint8)
        words[:, 22:] = dice.integers(0, 256, (count, 10), dtype=np.uint8)
        at = np.repeat(heights, PER_BLOCK)
        ranks = np.tile(np.arange(PER_BLOCK, dtype=np.int64), len(heights))
        facts = FactColumns(
            Transfer,
            at << 32 | ranks,
            1_700_000_000 + at,
            dice.integers(0, 256, (count, 32), dtype=np.uint8),
            {
                "token": self.tokens[dice.integers(0, 2, count)],
                "sender": self.holders[dice.integers(0, HOLDERS, count)],
                "recipient": self.holders[dice.integers(0, HOLDERS, count)],
                "value": numeric_column(words, signed=False),
            },
        )
        headers = [self.at(int(height)) for height in heights]
        return Batch(wanted, headers, [facts])


async def main(database_url, facts, bulk_facts):
    engine = connect(database_url)
    migrate(engine, REGISTRY)
    with engine.begin() as connection:
        row = sources.register(
            connection, name="made", chain_id="eip155:1", ordinals="rank"
        )
    blocks = facts // PER_BLOCK
    streams = [Stream(Transfer.spec.id, "test", 0)]
    chain = Chain(engine, REGISTRY, Made(blocks), row.id, streams)
    chain.window = BlockRange(0, blocks - 1)
    chain.bulk_facts = bulk_facts
    started = time.monotonic()
    while not isinstance(await step(chain), CaughtUp):
        pass
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - started,
                "cpu": used.ru_utime + used.ru_stime,
                "peak_mb": used.ru_maxrss // 1024,
            }
        )
    )
    engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
