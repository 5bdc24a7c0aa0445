"""A whole system per seed: a chain that reorgs, a node with faults, a database that
cuts connections, processes that die, backfills beside the follower.

The seed decides the chain's history and what happens in which order; how the processes
interleave is left to the machine, as in life. Whatever it was, the tables are what
`helpers.reference` makes of the chain that remained, and nothing is missing.

`CHAINFOLD_TEST_EXAMPLES=20` tries twenty times as many seeds. A seed that fails goes
into follow_seeds.txt, whose seeds are always tried.
"""

import asyncio
import contextlib
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from db.engine import Refused
from db.errors import LeaseLost
from db.leases import acquire_follower_lease
from db.position import BlockRange
from db.schema import migrate
from fakenode.chain import FORMS, Chain
from fakenode.faults import Faults
from fakenode.generate import Business
from fakenode.node import Node
from fakenode.profiles import PROFILES
from fakenode.server import Server
from helpers.business import ADDRESSES, REGISTRY, facts_of, open_business
from helpers.following import catch_up, check
from indexer import backfill, follow
from indexer.backfill import missing_ranges, run_range
from indexer.errors import IndexerError
from indexer.evm.finality import Depth, Ibft
from indexer.reorg import FinalityViolated

REPLAYED = [
    int(n) for n in (Path(__file__).parent / "follow_seeds.txt").read_text().split()
]
EXAMPLES = 12 * int(os.environ.get("CHAINFOLD_TEST_EXAMPLES", "1"))
KINDS = ("429", "500", "html", "half", "drop", "no logs")
INSTANT, OTHERS = ("edge-0.6", "edge-0.9", "edge-1.3"), ("geth", "erigon", "alchemy")


@pytest.fixture
def engine(db_engine, monkeypatch):
    migrate(db_engine, REGISTRY)
    for module in (follow, backfill):
        monkeypatch.setattr(module, "backoff", lambda failures: 0.02)
    return db_engine


@pytest.mark.parametrize("seed", [*REPLAYED, *range(1, EXAMPLES + 1)])
def test_whatever_happens_the_tables_are_those_of_the_chain(engine, seed):
    world = World(engine, seed)
    with world.node:
        asyncio.run(world.live())
    check(engine, world.fake, world.source)
    world.check_facts()


def late_by(seed):
    """Answers in any order, of half of the seeds; apart from what else they decide."""
    rng = random.Random(f"latency of {seed}")
    most = rng.choice([0, 0, 0.004, 0.02])
    return (lambda: rng.uniform(0, most)) if most else None


class World:
    """One chain, its node, its database, and the processes that come and go."""

    def __init__(self, engine, seed):
        self.engine, self.rng = engine, random.Random(seed)
        self.depth = self.rng.choice([0, 2, 6, 15])
        self.mode = self.rng.choice(["all", "all", "filtered"])
        # Of filtered logs nothing proves that a node held none back.
        kinds = KINDS if self.mode == "all" else KINDS[:-1]
        share = self.rng.choice([0, 0.1, 0.3])
        profile = PROFILES[self.rng.choice(OTHERS if self.depth else INSTANT)]
        profile = replace(profile, max_range=self.rng.choice([None, 7]))
        self.fake = Chain(FORMS[profile.form])
        self.business = Business(self.fake, self.rng)
        lags = self.rng.choice([(0,), (0,), (0, 2)])
        faults = Faults(seed, share, kinds)
        self.nodes = [Node(self.fake, profile, faults=faults, behind=n) for n in lags]
        self.node = Server(self.nodes, latency=late_by(seed))
        self.bulk_facts = random.Random(f"bulk of {seed}").choice([0, 20, 10**6])
        self.addresses = self.rng.choice(
            [ADDRESSES, {"DealFactory": {b"\xfa" * 20: 0}}]
        )
        self.source = 0
        self.highest = 0  # the highest head there ever was
        self.follower = None
        self.backfills = []

    async def live(self):
        self.mine(self.rng.randrange(1, 50))
        self.start()
        actions = [
            self.mine_some, self.mine_some, self.reorg, self.reorg, self.fall_back,
            self.restart, self.restart, self.cut, self.start_backfill, self.add_address,
        ]  # fmt: skip
        for _ in range(14):
            await self.rng.choice(actions)()
            await asyncio.sleep(self.rng.choice([0, 0.02, 0.1]))
        await self.crash()
        await asyncio.gather(*self.backfills)
        self.addresses = ADDRESSES
        self.mine(1)
        for node in self.nodes:
            node.behind = 0
        await self.persist(self.finish)

    def open(self, **options):
        finality = Depth(self.depth) if self.depth else Ibft()
        return open_business(
            self.engine, self.node.url, finality=finality, mode=self.mode,
            addresses=self.addresses, bulk_facts=self.bulk_facts, **options,
        )  # fmt: skip

    async def persist(self, work):
        """As a supervisor would: start it again until it ends well."""
        for _ in range(60):
            try:
                return await work()
            except (Refused, LeaseLost):
                await asyncio.sleep(0.02)
            except FinalityViolated:
                raise
            except IndexerError:
                await asyncio.sleep(0.02)
        raise AssertionError("never ended well")

    # What happens.

    def mine(self, count):
        for _ in range(count):
            self.fake.mine(*self.business.block())
        self.highest = max(self.highest, self.fake.head)

    async def mine_some(self):
        self.mine(self.rng.randrange(1, 9))

    async def reorg(self):
        lowest = max(self.highest - self.depth + 1, 1)
        if lowest > self.fake.head:
            return
        self.fake.truncate(self.rng.randint(lowest, self.fake.head) - 1)
        self.fake.salt += 1
        while self.fake.head < self.highest:
            self.mine(1)
        self.mine(self.rng.randrange(0, 4))

    async def fall_back(self):
        """The node forgets its last blocks, and has them again a moment later."""
        if self.rng.random() < 0.5:
            await self.crash()
            self.start()
        taken = self.fake.truncate(self.rng.randint(0, self.fake.head))
        await asyncio.sleep(self.rng.choice([0.02, 0.2]))
        self.fake.restore(taken)

    async def restart(self):
        await self.crash()
        self.start()

    async def cut(self):
        """Every connection to the database is cut, in the middle of anything."""
        with contextlib.suppress(Refused), self.engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            )

    async def start_backfill(self):
        first, last = sorted(self.rng.randint(0, self.fake.head) for _ in range(2))
        size = self.rng.choice([1, 4, 50])

        async def work():
            opener = lambda: self.open(blocks_per_range=size)  # noqa: E731
            await run_range(opener, BlockRange(first, last))

        self.backfills.append(asyncio.create_task(self.persist(work)))

    async def add_address(self):
        """The settings name another contract from now on."""
        self.addresses = ADDRESSES
        await self.restart()

    # The follower, which dies without a word: what it was doing may go on for a while.

    def start(self):
        size = self.rng.choice([1, 3, 10, 100])
        most = self.rng.choice([size, 100])

        async def work():
            async with self.open(blocks_per_range=size, range_blocks=most) as chain:
                chain.guard = self.take_lease(chain).guard
                await follow.follow(chain, asyncio.Event(), poll_seconds=0.01)

        self.follower = asyncio.create_task(self.persist(work))

    def take_lease(self, chain):
        with self.engine.begin() as connection:
            connection.execute(
                text("UPDATE control.follower SET seen_at = now() - interval '1h'")
            )
        return acquire_follower_lease(self.engine, chain.id)

    async def crash(self):
        self.follower.cancel()
        await asyncio.wait([self.follower])
        if not self.follower.cancelled():
            self.follower.result()

    async def finish(self):
        async with self.open() as chain:
            self.source = chain.id
            chain.guard = self.take_lease(chain).guard
            with self.engine.begin() as connection:  # as two minutes would
                connection.execute(text("DELETE FROM control.lease"))
            await catch_up(chain, steps=2000)
            assert missing_ranges(chain, BlockRange(0, self.fake.head)) == []

    def check_facts(self):
        """The facts are those of the chain, each once."""
        expected = {event.spec.table: [] for event in REGISTRY.events.values()}
        for fact in facts_of(self.fake):
            expected[fact.event.spec.table].append(fact.position)
        with self.engine.connect() as connection:
            for table, positions in expected.items():
                query = f"SELECT position FROM facts.{table} ORDER BY position"
                found = list(connection.execute(text(query)).scalars())
                if self.mode == "all":
                    assert found == positions
                else:  # numbered otherwise
                    assert [p >> 32 for p in found] == [p >> 32 for p in positions]
