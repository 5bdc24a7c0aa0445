"""Seeded schedules of the follower over the conformance node, and what must hold.

The seed chooses a profile, its limits, faults, the number of endpoints, the mode, the
proofs that are required, and what happens: blocks come, are replaced, endpoints lag or
go, the process dies, the database refuses a statement. Nodes are asked within the
process, time moves only where somebody waits, and each schedule is a chain of its own
in one database, so that thousands need neither ports nor clean-up.

After it, with the faults gone, the database is what the model says: every fact, every
folded row, every remembered block, coverage without a gap, and no block that claims a
proof it has not. Or the chain was stopped for a reason that there was.

Which lies are told where:

- proofs required (`strict`): all of them;
- not required (`auto`): those about logs and receipts. A header that nothing requires
  to be hashed is believed until another one contradicts it. What is written then may be
  wrong, but claims no proof, and the audit must find it;
- only blooms required (`blooms`): those that blooms show;
- filtered: only `faults.UNPROVED`; nothing else can be seen without whole blocks.
"""

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache

import aiohttp
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.exc import OperationalError

from db import proofs, sources, validators
from db.declare import Count, First, Key, Latest, Projection, Sum
from db.engine import Refused
from db.position import BlockRange
from db.proofs import HeaderProof, LogsProof, Proof, Verify
from db.registry import Registry
from db.sql.columns import fact_table
from fakenode.chain import FORMS
from fakenode.faults import (
    ABOUT_LOGS,
    BLOOMED,
    LAG,
    PROVABLE,
    TRANSPORT,
    UNPROVED,
    Faults,
)
from fakenode.generate import Business, grown
from fakenode.node import Node
from fakenode.profiles import PROFILES
from helpers import reference
from helpers.business import ADDRESSES, DealMade, Moved, Paid, Purse, facts_of
from helpers.schedules import by_name
from helpers.tables import live_rows
from indexer import audit as auditing
from indexer.audit import Audit, FactsDiffer
from indexer.backfill import missing_ranges
from indexer.chain import Chain
from indexer.errors import Permanent, Retryable
from indexer.evm.client import RpcClient
from indexer.evm.filters import FollowedContract
from indexer.evm.finality import Depth, Ibft, Tag
from indexer.evm.ibft import ValidatorState
from indexer.evm.proofs import ProofPolicy
from indexer.evm.source import EvmSource
from indexer.follow import CaughtUp, check_genesis, step
from indexer.reorg import FinalityViolated
from indexer.source import Child
from indexer.streams import Wanted, plan_streams
from indexer.writer import rewind


class Till(Projection):
    """One row per deal, of the folds that cost little."""

    deal = Key()

    title = First(DealMade.title)
    raised = Sum(Paid.amount)
    payments = Count(Paid)
    last_payer = Latest(Paid.payer)


REGISTRY = Registry.of([DealMade, Paid, Moved], [Till, Purse])
CHAIN_IDS = 1_000_000  # those of the schedules begin here
NAMES = tuple(PROFILES)
REORGING = tuple(n for n, p in PROFILES.items() if p.finality != "instant")
BLOCKS, MOST_BLOCKS = 8, 16  # of a chain at its start, and in the end
PATIENCE = 400  # steps until everything must be read, without faults
LIES_IN = {
    "strict": PROVABLE, "auto": ABOUT_LOGS, "blooms": BLOOMED, "filtered": UNPROVED,
}  # fmt: skip
ABOUT_HEADERS = {
    "a head made up",
    "a hash made up",
    "a field changed",
    "the block below",
}


class Stage:
    """A database for many schedules, each with a source of its own.

    It plays an engine: what is only read needs no transaction. Statements are prepared
    on the server once, as planning is half of the time. After `fail_in` more of them
    one is refused, as by a connection that was cut.
    """

    def __init__(self, url):
        self.fail_in = None
        self.writing = create_engine(url, pool_reset_on_return=None)
        self.reading = create_engine(
            url, pool_reset_on_return=None, isolation_level="AUTOCOMMIT"
        )
        for engine in (self.writing, self.reading):
            event.listen(engine, "connect", _hasten)
            event.listen(engine, "before_cursor_execute", self._before, retval=True)
        self.begin, self.connect = self.writing.begin, self.reading.connect

    def _before(self, connection, cursor, statement, parameters, context, many):
        if self.fail_in is not None:
            self.fail_in -= 1
            if self.fail_in < 0:
                self.fail_in = None
                raise OperationalError(statement[:60], None, Exception("cut"))
        prepared = connection.info.setdefault("prepared", {})
        return by_name(prepared, cursor, statement, parameters, many)

    def close(self):
        self.writing.dispose()
        self.reading.dispose()


def _hasten(connection, record):
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        cursor.execute("SET synchronous_commit = off")
    connection.commit()


class Wire:
    """Brings requests to nodes in this process, in place of an aiohttp session."""

    def __init__(self, nodes):
        self.nodes = nodes

    def post(self, url, *, data, **_):
        return _Exchange(self.nodes[url], data)

    async def close(self):
        """Nothing is open."""


class _Exchange:
    def __init__(self, node, data):
        self.node, self.data = node, data

    async def __aenter__(self):
        await asyncio.sleep(0)
        answer = self.node.answer(self.data)
        if answer.trouble == "drop":
            raise aiohttp.ServerDisconnectedError
        if answer.trouble == "hang":
            raise TimeoutError
        self.status, self.headers = answer.status, answer.headers
        self.content, self._body = self, answer.body
        return self

    async def __aexit__(self, *_):
        """Nothing is open."""

    async def readany(self):
        body, self._body = self._body, b""
        return body


class WiredClient(RpcClient):
    """The client over a `Wire`; its clock moves only while it sleeps."""

    def __init__(self, wire, chain_id, rng, **options):
        self.now = 1000.0
        super().__init__(
            list(wire.nodes), chain_id, clock=lambda: self.now, sleep=self._advance,
            random=rng.random, **options,
        )  # fmt: skip
        self._wire = wire

    def _open_session(self):
        return self._wire

    async def _advance(self, seconds):
        self.now += max(seconds, 0.001)
        await asyncio.sleep(0)


@cache
def beginning(form, number):
    """A chain that schedules go on from; hashing it anew would be half of the time."""
    return grown(FORMS[form], seed=number, blocks=BLOCKS)


class Schedule:
    """One schedule; `found` is what did not hold."""

    def __init__(self, stage, seed):
        self.stage, self.seed = stage, seed
        self.chain_id, self.name = CHAIN_IDS + seed, f"chain{seed}"
        self.rng = rng = random.Random(seed)
        self.profile = small(rng, PROFILES[NAMES[seed % len(NAMES)]])
        self.chain = beginning(self.profile.form, rng.randrange(6)).copy()
        self.chain.salt = seed
        self.business = Business(self.chain, rng)
        self.instant = self.profile.finality == "instant"
        self.depth = 0 if self.instant else rng.choice([2, 4])
        styles = ["strict", "strict", "strict", "auto", "filtered", "filtered"]
        if FORMS[self.profile.form].blooms:
            styles.append("blooms")
        self.style = rng.choice(styles)
        self.mode = "filtered" if self.style == "filtered" else "all"
        self.strict = self.style == "strict"
        self.forged = False
        self.nodes = self._nodes()
        self.wire = Wire({f"http://n{n.number}.test": n for n in self.nodes})
        self.highest = self.chain.head
        self.source = self.held = None
        self.done = Audit()
        self.incidents = []
        self.found = []

    def _nodes(self):
        rng = self.rng
        kinds = [*TRANSPORT, *LAG]
        lies = LIES_IN[self.style]
        natures = ["well", "weather", "moments", "lies", "lies", "lies", "both"]
        nature = rng.choice(natures)
        kinds = {
            "well": [],
            "weather": kinds,
            "moments": ["error"],
            "lies": list(lies),
            "both": [*kinds, *lies],
        }[nature]
        if nature != "well":  # few kinds, so that each is met more than once
            kinds = rng.sample(kinds, min(len(kinds), rng.choice([1, 3, 5])))
        share = rng.choice([0.1, 0.3, 0.6])
        count = rng.choice([1, 1, 2, 3])
        seed = rng.randrange(1 << 32)
        stray = rng.randrange(count) if count > 1 and rng.random() < 0.3 else None
        return [
            self._node(
                number,
                Faults(seed + number, share, kinds, 6 if nature == "moments" else 3),
                number == stray,
            )
            for number in range(count)
        ]

    def _node(self, number, faults, is_stray):
        """One endpoint; a stray one is of another chain."""
        rng = self.rng
        return Node(
            beginning(self.profile.form, 99) if is_stray else self.chain,
            self.profile, number=number, faults=faults,
            chain_id=1 if is_stray else self.chain_id,
            behind=rng.choice([0, 0, 1, 3]) if number else 0,
            final_behind=self.depth,
        )  # fmt: skip

    @property
    def policy(self):
        if self.style == "blooms":
            return ProofPolicy(Verify.ALWAYS, Verify.NEVER)
        if not self.strict:
            return ProofPolicy()
        sealed = self.profile.form.startswith("ibft")
        header = HeaderProof.SEALS if sealed else HeaderProof.HASH
        return ProofPolicy(require=Proof(header, LogsProof.RECEIPTS))

    @property
    def finality(self):
        if self.instant:
            return Ibft()
        return Tag() if self.profile.finality == "tag" else Depth(self.depth)

    async def play(self):
        actions = [
            self.steps, self.steps, self.steps, self.mine, self.mine, self.reorg,
            self.reorg, self.lag, self.crash, self.refuse, self.swing, self.forge,
            self.forge,
        ]  # fmt: skip
        try:
            for _ in range(self.rng.randrange(3, 8)):
                await self.rng.choice(actions)()
            await self.end()
        finally:
            await self.close()
        return self.found

    # What happens.

    async def steps(self, count=2):
        for _ in range(count):
            with suppress(Retryable, Refused):
                if self.held is None:
                    await self.open()
                try:
                    await step(self.held)
                except FinalityViolated as stop:
                    await self.stopped(stop)

    async def stopped(self, stop):
        """Somebody looks; only where a node lied about a header was there a reason."""
        self.incidents.append(stop.incident)
        told = {kind for node in self.nodes for kind in node.faulted}
        if not told & ABOUT_HEADERS and not self.forged:
            self.found.append(f"stopped without a reason: {stop}")
        await self.close()

    async def mine(self):
        for _ in range(self.rng.randrange(1, 4)):
            if self.chain.head < MOST_BLOCKS:
                self.chain.mine(*self.business.block())
        self.highest = max(self.highest, self.chain.head)

    async def reorg(self):
        """Other blocks instead of some that are not final, and at least as many."""
        lowest = self.highest - self.depth + 1
        if self.instant or lowest > self.chain.head or lowest < 1:
            return
        depth = self.chain.head - self.rng.randint(lowest, self.chain.head) + 1
        more = self.highest - self.chain.head
        self.chain.reorg(depth, self.business.blocks(depth + more))
        self.chain.salt += self.seed

    async def lag(self):
        """An endpoint is behind, or catches up."""
        node = self.rng.choice(self.nodes)
        node.behind = self.rng.choice([0, 0, 1, 2, 5])

    async def forge(self):
        """An endpoint follows blocks that too few validators sealed."""
        if self.strict and self.chain.validators is not None:
            trick = self.rng.choice(["few", "twice", "stranger", "twice"])
            node = self.rng.choice(self.nodes)
            if node.chain_id == self.chain_id:
                node.chain = self.chain.forged(trick, self.business.blocks(2))
                self.forged = True
                await self.steps()

    async def swing(self):
        """An endpoint goes away for some steps, and comes back."""
        node = self.rng.choice(self.nodes)
        node.down = True
        await self.steps(1)
        node.down = False

    async def crash(self):
        await self.close()

    async def refuse(self):
        """The database refuses a statement in the middle of whatever it is."""
        self.stage.fail_in = self.rng.randrange(40)
        await self.steps(1)
        self.stage.fail_in = None

    async def end(self):
        """The faults go away, and what was read must be what there is."""
        for node in self.nodes:
            node.faults, node.behind, node.down = None, 0, False
            if node.chain_id == self.chain_id:
                node.chain = self.chain
        self.chain.mine(*self.business.block(spare=0))
        await self.catch_up()
        wrong = self.wrong_heights()
        if self.style != "auto" or not wrong:
            await self.check()
        self.check_claims(wrong)
        if self.style == "auto":
            await self.audit(wrong)
        if self.instant and self.rng.random() < 0.2:
            await self.regenesis()

    async def catch_up(self):
        last = "it was stopped again and again"
        for _ in range(PATIENCE):
            try:
                if self.held is None:
                    await self.open()
                if isinstance(await step(self.held), CaughtUp):
                    return
            except Retryable as error:
                last = error
            except FinalityViolated as stop:
                await self.stopped(stop)
                if len(self.incidents) > 5:
                    break
        self.found.append(f"never caught up: {last}")

    async def audit(self, wrong):
        """History is proved; what is wrong is found, named, and read again.

        A process that met receipts which fit no header doubts them until its end, so
        another one looks.
        """
        await self.close()
        self.chain.mine(*self.business.block(spare=0))
        await self.catch_up()
        for _ in range(PATIENCE):
            try:
                if await auditing.audit(self.held, self.done, 5) is None:
                    break
            except Retryable:
                continue
            except FactsDiffer as differ:
                if not wrong:
                    self.found.append(f"the audit stops a right chain: {differ}")
                    return
                height = int(
                    str(differ).split(f"rewind {self.held.name} ")[1].split("`")[0]
                )
                rewind(self.stage, REGISTRY, self.source, height)
                self.done = Audit()
                await self.catch_up()
                wrong = self.wrong_heights()
        if any(each is LogsProof.RECEIPTS for each in self.held.source.provable()):
            await self.check()

    async def regenesis(self):
        """The chain is started anew from the same block 0: the follower must stop."""
        self.chain.restart(self.business.blocks(self.chain.head + 2))
        for _ in range(30):
            try:
                if self.held is None:
                    await self.open()
                await step(self.held)
            except Retryable:
                continue
            except FinalityViolated:
                return
        self.found.append("another chain from the same block 0 was not noticed")

    # The process.

    async def open(self):
        async with self._opened() as chain:
            self.held = chain

    @asynccontextmanager
    async def _opened(self):
        rng = self.rng
        with self.stage.begin() as connection:
            row = sources.register(
                connection, name=self.name, chain_id=f"eip155:{self.chain_id}",
                ordinals="rank" if self.mode == "all" else "log_index",
            )  # fmt: skip
            known = [Child(*each) for each in sources.children(connection, row.id)]
            states = validators.load(connection, row.id)
        self.source = row.id
        state = None
        if states is not None:
            state = ValidatorState.from_json(states.height, states.hash, states.state)
        followed = [
            FollowedContract(
                contract, ADDRESSES.get(name, {}), REGISTRY.events_of(name)
            )
            for name, contract in REGISTRY.contracts.items()
        ]
        client = WiredClient(self.wire, self.chain_id, rng)
        source = EvmSource(
            self.name, f"eip155:{self.chain_id}", client, followed, self.finality,
            mode=self.mode, policy=self.policy, traits=row.traits, validators=state,
            known_children=known, target_bytes=rng.choice([3000, 10_000, 1_500_000]),
        )  # fmt: skip
        size = rng.choice([1, 3, 10, 100])
        streams = plan_streams(REGISTRY, Wanted(0, ADDRESSES))
        chain = Chain(
            self.stage, REGISTRY, source, row.id, streams,
            blocks_per_range=size, range_blocks=max(size, rng.choice([4, 100])),
            bulk_facts=random.Random(self.seed).choice([0, 20, 10**6]),
        )  # fmt: skip
        try:
            await check_genesis(chain)
        except BaseException:
            await source.close()
            raise
        yield chain

    async def close(self):
        if self.held is None:
            return
        reading = [each.task for each in self.held.ahead]
        self.held.drop_ahead()
        if reading:
            await asyncio.wait(reading)
        await self.held.source.close()
        self.held = None

    # What must hold.

    def wrong_heights(self):
        """The blocks whose stored facts are not those of the model."""
        theirs, ours = self.expected(), self.stored()
        return {
            place >> 32
            for table in ours
            for place, *_ in set(theirs[table]) ^ set(ours[table])
        }

    def expected(self):
        places = None
        if self.mode == "filtered":
            by_tx = self.profile.log_index == "transaction"
            places = lambda at, in_tx, in_block: (  # noqa: E731
                at << 18 | (in_tx if by_tx else in_block)
            )
        self.facts = facts_of(self.chain, places)
        found = {event.spec.table: [] for event in REGISTRY.events.values()}
        for fact in self.facts:
            found[fact.event.spec.table].append(
                (
                    fact.position,
                    fact.block_time,
                    fact.transaction,
                    *fact.values.values(),
                )
            )
        return found

    def stored(self):
        with self.stage.connect() as connection:
            found = {}
            for event in REGISTRY.events.values():
                table = fact_table(event)
                columns = [
                    table.c[name]
                    for name in (
                        "position",
                        "block_time",
                        "transaction",
                        *event.spec.fields,
                    )
                ]
                query = select(*columns).where(table.c.source == self.source)
                rows = connection.execute(query)
                found[event.spec.table] = [tuple(map(_plain, row)) for row in rows]
        return found

    async def check(self):
        theirs, ours = self.expected(), self.stored()
        for table, rows in ours.items():
            if sorted(rows) != sorted(theirs[table]):
                self.found.append(
                    f"{table}: {len(rows)} facts, {len(theirs[table])} true"
                )
        with self.stage.connect() as connection:
            for projection in REGISTRY.projections.values():
                rows = live_rows(connection, projection, self.source)
                if rows != reference.fold(projection, self.facts):
                    self.found.append(
                        f"{projection.spec.name}: rows are not the facts'"
                    )
            own = {"source": self.source}
            query = "SELECT height, hash FROM control.block WHERE source = :source"
            kept = connection.execute(text(query), own)
            for height, digest in kept:
                if (
                    height > self.chain.head
                    or bytes(digest) != self.chain.blocks[height].hash
                ):
                    self.found.append(f"block {height} is remembered as another")
            query = (
                "SELECT count(*) FROM control.undecodable_log WHERE source = :source"
            )
            if connection.execute(text(query), own).scalar_one():
                self.found.append("logs were kept as undecodable")
        if self.held is None:
            return
        gaps = missing_ranges(self.held, BlockRange(0, self.chain.head))
        if gaps:
            self.found.append(f"coverage lacks {gaps}")

    def check_claims(self, wrong):
        """No block claims a proof of logs that are wrong, nor less than is required."""
        with self.stage.connect() as connection:
            for height in wrong:
                proof = proofs.lowest(
                    connection, self.source, BlockRange(height, height)
                )
                if proof.logs is LogsProof.RECEIPTS:
                    self.found.append(f"block {height} is wrong and claims a proof")
            whole = BlockRange(0, self.chain.head)
            proof = proofs.lowest(connection, self.source, whole)
            unread = self.style == "blooms" and proof.logs is LogsProof.RECEIPTS
            if unread and any(block.transactions for block in self.chain.blocks):
                self.found.append("blocks claim receipts that nobody read")
        wanted = self.policy.require
        if proof.logs < wanted.logs or proof.header < wanted.header:
            self.found.append(f"proved to {proof}, {wanted} is required")


def small(rng, profile):
    """The profile, with limits that these chains meet."""
    limits = {
        "max_batch": rng.choice([3, 5, 20]) if profile.max_batch else None,
        "max_range": rng.choice([2, 3, 7]) if profile.max_range else None,
        "max_results": rng.choice([4, 9]) if profile.max_results else None,
        "max_terms": rng.choice([2, 5]) if profile.max_terms else None,
    }
    if rng.random() < 0.2:
        limits = {}
    return replace(profile, **limits)


def _plain(value):
    if isinstance(value, memoryview):
        return bytes(value)
    return value if isinstance(value, (bytes, str)) else int(value)


def run(stage, seed):
    """Play one schedule; what did not hold."""
    try:
        schedule = Schedule(stage, seed)
        return asyncio.run(schedule.play())
    except (Permanent, AssertionError) as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        stage.fail_in = None


__all__ = ["NAMES", "Schedule", "Stage", "run"]
