"""Seeded schedules of the follower over a Solana cluster, and what must hold.

The seed chooses the number of nodes, their faults, whether they tell the index of a
transaction, and what happens: slots pass with and without blocks, confirmed ones are
replaced, nodes lag or go, the process dies between any two steps, the database refuses
a statement. After it, with the faults gone, facts, rows, failed transactions and the
accounts of a wallet are what a plain walk over the blocks says.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from sqlalchemy import text

from db import sources
from db.declare import Event, Key, Program, Projection, Sum, TokenMoved, Tokens, Uint
from db.engine import Refused
from db.registry import Registry
from helpers.cluster_double import FINALITY, MARK, PROGRAM, Cluster, Node, Tx
from helpers.node_schedules import Wire
from helpers.solana_calls import key
from idl import parse_idl
from idl.base58 import from_base58, to_base58
from indexer.chain import Chain
from indexer.errors import Permanent, Retryable
from indexer.follow import CaughtUp, check_genesis, step
from indexer.reorg import FinalityViolated
from indexer.solana import listing
from indexer.solana.assemble import FollowedProgram
from indexer.solana.client import SolanaClient, identity
from indexer.solana.listing import Listing
from indexer.solana.source import SolanaSource
from indexer.streams import Wanted, plan_streams
from indexer.writer import rewind

IDL = parse_idl({
    "address": PROGRAM, "metadata": {"name": "sim", "version": "0", "spec": "0.1.0"},
    "instructions": [{"name": "act", "discriminator": [1], "accounts": [], "args": []}],
    "events": [{"name": "Said", "discriminator": list(MARK)}],
    "types": [{"name": "Said", "type": {"kind": "struct", "fields": [
        {"name": "amount", "type": "u64"}]}}],
})  # fmt: skip
program = Program("sim", IDL)
FAULTS = (
    "drop", "hang", "limit", "cut", "behind", "null", "empty", "hide", "shuffle",
    "goes back",
)  # fmt: skip
WALLET = key("wallet")
MOST_SLOTS = 44  # fewer than `listing.OVERLAP`: hidden lines are looked at again
OVERLAP_LEAST = 12  # slots: what may be replaced, and how far nodes lag
PATIENCE = 400


class Said(Event):
    """An amount was said."""

    source = program
    amount = Uint(64)


class Spoken(Projection):
    """How much was said of each amount."""

    plural = "spoken"
    amount = Key()
    total = Sum(Said.amount)


class Kept(Projection):
    """What a token account holds."""

    plural = "kept"
    account = Key()
    balance = Sum(TokenMoved.amount)


REGISTRY = Registry.of([Said, TokenMoved], [Spoken, Kept])


class WiredClient(SolanaClient):
    """The client over a `Wire`; its clock moves only while it sleeps."""

    def __init__(self, wire, chain_id, rng):
        self.now, self._wire = 1000.0, wire
        super().__init__(
            list(wire.nodes), chain_id, clock=lambda: self.now, sleep=self._advance,
            random=rng.random, attempts=3,
        )  # fmt: skip

    def _open_session(self):
        return self._wire

    async def _advance(self, seconds):
        self.now += max(seconds, 0.001)
        await asyncio.sleep(0)


class Schedule:
    """One schedule; `found` is what did not hold."""

    def __init__(self, stage, seed):
        self.stage, self.seed = stage, seed
        self.rng = rng = random.Random(seed)
        self.cluster = Cluster(seed)
        self.held = self.source = None
        self.found, self.count, self.stops = [], 0, 0
        nature = rng.choice(["well", "weather", "weather", "one", "hidden"])
        kinds = {
            "well": [], "weather": rng.sample(FAULTS, 4), "one": [rng.choice(FAULTS)],
            "hidden": ["hide", "empty", "shuffle"],
        }[nature]  # fmt: skip
        share = rng.choice([0.02, 0.05, 0.15])
        tells = rng.random() < 0.7
        self.nodes = [
            Node(self.cluster, rng, kinds, share, tells_index=tells)
            for _ in range(rng.choice([1, 2, 3]))
        ]
        self.wire = Wire({f"http://n{at}.test": n for at, n in enumerate(self.nodes)})

    async def play(self):
        actions = [
            self.steps, self.steps, self.steps, self.live, self.live, self.fork,
            self.lag, self.crash, self.kill, self.refuse, self.swing,
        ]  # fmt: skip
        for _ in range(FINALITY + 1):  # nobody begins where the first block may go
            self.add([])
        await self.live()
        try:
            for _ in range(self.rng.randrange(8, 20)):
                await self.rng.choice(actions)()
            await self.end()
        finally:
            await self.close()
        return self.found

    # What happens.

    def transaction(self):
        """One of everything that a transaction may be."""
        rng = self.rng
        self.count += 1
        tx = Tx(f"{self.seed} {self.count}", fails=rng.random() < 0.15)
        choice = rng.random()
        if choice < 0.55:
            tx.amounts = [
                rng.choice([1, 7, 2**64 - 1]) for _ in range(rng.randint(1, 3))
            ]
            tx.by_call = rng.random() < 0.5
        if choice > 0.4:
            account = key(f"account {rng.randrange(4)}")
            owner = rng.choice([WALLET, WALLET, key("stranger")])
            tx.moves = [(account, owner)]
            tx.names = [WALLET] if rng.random() < 0.4 else []
        return tx

    async def live(self):
        """Slots pass, most with a block."""
        for _ in range(self.rng.randrange(1, 4)):
            if self.cluster.tip < MOST_SLOTS:
                txs = [self.transaction() for _ in range(self.rng.randrange(4))]
                self.add(txs, self.rng.choice([0, 0, 0, 2]))

    def add(self, txs, skip=0):
        """Add a block; what its accounts hold follows from the blocks before it."""
        held = {}
        for _, _, tx in self.cluster.rows(self.cluster.tip):
            held |= self._after(tx)
        done = []
        for tx in txs:
            made = Tx(tx.name, tx.amounts, [], list(tx.names), tx.fails, tx.by_call)
            for account, owner, *_ in tx.moves:
                before = held.get(account)
                if before is not None and before[1] is not None:
                    owner = before[0]
                amount = None if before is None else before[1]
                after = self.rng.choice([None, 0, 5, 9, 9_000])
                if tx.fails:
                    after = amount
                if owner == WALLET and amount is not None and after is None:
                    made.names = [WALLET]  # who closes an account signs
                made.moves.append((account, owner, amount, after))
            held |= self._after(made)
            done.append(made)
        self.cluster.add(done, skip)

    @staticmethod
    def _after(tx):
        return {} if tx.fails else {a: (o, after) for a, o, _, after in tx.moves}

    async def fork(self):
        """Other blocks instead of some that are not final; some of it comes back."""
        lowest = self.cluster.top - FINALITY + 1
        if lowest < 1 or lowest > self.cluster.tip:
            return
        gone = self.cluster.fork(self.rng.randint(lowest, self.cluster.tip))
        self.rng.shuffle(gone)
        self.add([tx for tx in gone if self.rng.random() < 0.6])
        while self.cluster.tip < self.cluster.top:
            self.add([])

    async def lag(self):
        self.rng.choice(self.nodes).behind = self.rng.choice([0, 0, 1, 3, 6])

    async def swing(self):
        node = self.rng.choice(self.nodes)
        node.down = True
        await self.steps(1)
        node.down = False

    async def crash(self):
        await self.close()

    async def refuse(self):
        """The database refuses a statement in the middle of whatever it is."""
        self.stage.fail_in = self.rng.randrange(60)
        await self.steps(1)
        self.stage.fail_in = None

    async def kill(self):
        """The process dies somewhere in a step."""
        task = asyncio.ensure_future(self.steps(2))
        for _ in range(self.rng.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self.close()

    async def steps(self, count=5):
        for _ in range(count):
            with suppress(Retryable, Refused):
                if self.held is None:
                    await self.open()
                try:
                    await step(self.held)
                except FinalityViolated as stop:
                    await self.stopped(stop)
                except Permanent as error:
                    self.found.append(f"stopped without a reason: {error}")
                    await self.close()

    async def stopped(self, stop):
        """Somebody looks, and does what the error says.

        A block that was replaced while nobody looked, and is final now, was written as
        another one. What is not final in the cluster is never called so.
        """
        self.stops += 1
        lowest = int(str(stop).split(f"rewind cluster{self.seed} ")[1].split("`")[0])
        if lowest > self.cluster.final + 1 or self.stops > 5:
            self.found.append(f"stopped without a reason: {stop}")
        await self.close()
        rewind(self.stage, REGISTRY, self.source, lowest)
        with self.stage.begin() as connection:
            sources.reset_from(connection, self.source, lowest)

    async def end(self):
        """The faults go away, and what was read must be what there is."""
        for node in self.nodes:
            node.kinds, node.behind, node.down = (), 0, False
            node.hidden, node.lacking = set(), set()
        for _ in range(2):  # until all above is final
            for _ in range(FINALITY + 2):
                self.add([])
            await self.close()  # a new process asks at once which accounts there are
            await self.catch_up()
        if not self.found:
            self.check()

    async def catch_up(self):
        last = "nothing was tried"
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
            except Permanent as error:
                self.found.append(f"stopped without a reason: {error}")
                return
        self.found.append(f"never caught up: {last}")

    # The process.

    async def open(self):
        rng, chain_id = self.rng, identity(self.cluster.genesis)
        with self.stage.begin() as connection:
            row = sources.register(
                connection, name=f"cluster{self.seed}", chain_id=chain_id,
                ordinals="transaction",
            )  # fmt: skip
        self.source = row.id
        client = WiredClient(self.wire, chain_id, rng)
        wallets = {from_base58(WALLET, 32): 0}
        address = {from_base58(PROGRAM, 32): 0}
        source = SolanaSource(
            f"cluster{self.seed}", client,
            [FollowedProgram(program, address, [Said]),
             FollowedProgram(Tokens(), {}, [TokenMoved], wallets=wallets)],
            Listing(self.stage, row.id),
        )  # fmt: skip
        wanted = Wanted(0, {"sim": address}, wallets=wallets)
        size = rng.choice([1, 3, 10, 100])
        chain = Chain(
            self.stage, REGISTRY, source, row.id, plan_streams(REGISTRY, wanted),
            blocks_per_range=size, range_blocks=max(size, rng.choice([4, 100])),
            bulk_facts=0,  # its transaction stays open while others read: two threads
        )  # fmt: skip
        try:
            await check_genesis(chain)
        except BaseException:
            await source.close()
            raise
        self.held = chain

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

    def expected(self):
        """Amounts, movements and failures in order, by a plain walk over the blocks."""
        rows = list(self.cluster.rows(self.cluster.tip))
        ours = {WALLET}
        for _, _, tx in rows:
            ours |= {
                account
                for account, owner, *held in tx.moves
                if owner == WALLET and held != [None, None]
            }
        said, moved, failed = [], [], []
        for slot, _, tx in rows:
            if tx.fails:
                failed += [tx.signature] if tx.amounts else []
                continue
            said += [(slot, amount) for amount in tx.amounts]
            if not ours.isdisjoint(tx.listed):
                moved += [
                    (slot, account, (after or 0) - (before or 0))
                    for account, _, before, after in tx.moves
                    if (after or 0) != (before or 0)
                ]
        return said, moved, failed

    def stored(self):
        def ask(query):
            return connection.execute(text(query), {"source": self.source}).all()

        with self.stage.connect() as connection:
            said = ask(
                f"SELECT position >> 32, amount FROM facts.{Said.spec.table}"
                " WHERE source = :source ORDER BY position"
            )
            moved = ask(
                "SELECT position >> 32, account, amount FROM"
                f" facts.{TokenMoved.spec.table} WHERE source = :source"
                " ORDER BY position"
            )
            failed = ask(
                "SELECT transaction FROM control.failed_transaction"
                " WHERE source = :source ORDER BY position"
            )
            spoken = ask(
                "SELECT amount, total FROM state.spoken WHERE source = :source"
            )
        return (
            [(slot, int(amount)) for slot, amount in said],
            [(slot, to_base58(bytes(at)), int(n)) for slot, at, n in moved],
            [to_base58(bytes(row[0])) for row in failed],
        ), {int(amount): int(total) for amount, total in spoken if total}

    def check(self):
        theirs, (ours, spoken) = self.expected(), self.stored()
        for what, one, other in zip(
            ("amounts", "movements", "failed"), theirs, ours, strict=True
        ):
            if one != other:
                lost = [each for each in one if each not in other]
                more = [each for each in other if each not in one]
                self.found.append(f"{what}: lost {lost[:3]}, too many {more[:3]}")
        sums = {}
        for _, amount in theirs[0]:
            sums[amount] = sums.get(amount, 0) + amount
        if spoken != sums:
            self.found.append(f"rows: {spoken}, not {sums}")


def run(stage, seed):
    """Play a schedule; what does not hold after it."""
    return asyncio.run(_played(stage, seed))


async def _played(stage, seed):
    chance, before = random.Random(seed), (listing.PAGE_MAX, listing.OVERLAP)
    listing.PAGE_MAX = chance.choice([3, 7, 1000])
    schedule = Schedule(stage, seed)
    if not any("hide" in node.kinds for node in schedule.nodes):
        # Slots far below the head are not looked at again, as in a long history.
        listing.OVERLAP = min(listing.OVERLAP, chance.choice([OVERLAP_LEAST, 64]))
    try:
        return await schedule.play()
    finally:
        listing.PAGE_MAX, listing.OVERLAP = before
        stage.fail_in = None
