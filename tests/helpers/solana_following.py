"""The program `ledger` on a development node, followed into a database."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from sqlalchemy import text

from db import sources
from db.declare import Event, Key, Program, Projection, Sum, Uint
from db.declare import Pubkey as PubkeyField
from db.declare.solana.bare import declare_program
from db.registry import Registry
from devnet.solana import ledger, version1
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry
from idl import load_idl
from indexer.chain import Chain
from indexer.errors import Retryable
from indexer.follow import CaughtUp, check_genesis, step
from indexer.solana.assemble import FollowedProgram
from indexer.solana.client import SolanaClient, identity
from indexer.solana.listing import Listing
from indexer.solana.source import SolanaSource
from indexer.streams import Wanted, plan_streams

ADDRESS = bytes(ledger.PROGRAM)
program = Program("ledger")
BARE = declare_program("ledgerbare", load_idl("ledger"))


class Recorded(Event):
    """An entry was recorded."""

    source = program
    author = PubkeyField()
    amount = Uint(64)


class Author(Projection):
    """What an author recorded."""

    author = Key()
    total = Sum(Recorded.amount)


REGISTRY = Registry.of([Recorded], [Author])
CHAIN_IDS: dict[str, str] = {}
AUTHOR = Keypair.from_seed(hashlib.sha256(b"author").digest())


@dataclass
class Sent:
    """A transaction that was sent, and the amounts that it says."""

    signature: str
    amounts: list[int]
    fails: bool = False


@dataclass
class Town:
    """A node with people who record entries; what they did is the truth."""

    devnet: Devnet
    seed: int = 0
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self):
        self.chance = random.Random(self.seed)
        self.devnet.payer = AUTHOR
        self.devnet.fund()
        self.count = 0

    def entry(self):
        count = self.chance.randint(1, 12)
        amounts = tuple(
            self.chance.choice([1, 7, 2**63 // 12, 2**64 // 13]) for _ in range(count)
        )
        note = self.chance.choice(["", "plain", "zero\0inside", "é" * 20])
        kind = self.chance.choice([(0,), (1, 5, True), (2, 3, 9)])
        limit = self.chance.choice([None, 2**64 - 1])
        return Entry(amounts, note=note, kind=kind, limit=limit)

    def act(self, *, times=1):
        """Send some transactions into the open slot."""
        for _ in range(times):
            self._act()

    def _act(self):
        self.count += 1
        key, entry = AUTHOR.pubkey(), self.entry()
        identity_ = hashlib.sha256(f"{self.seed} {self.count}".encode()).digest()
        people = [
            Pubkey.from_bytes(hashlib.sha256(f"p{n}".encode()).digest())
            for n in range(len(entry.amounts))
        ]
        make = self.chance.choice([ledger.emit, ledger.emit_by_call, ledger.record])
        call = make(key, identity_, entry, people)
        total = sum(entry.amounts)
        amounts = [total]
        unique = ledger.mark(self.count, self.seed)
        choice = self.chance.randrange(6)
        if choice == 0 and make is not ledger.record:
            calls, amounts = [call, call], [total, total]
        elif choice == 1 and make is not ledger.record and len(people) < 6:
            calls, amounts = [ledger.relay(call), ledger.relay(ledger.relay(call))], [
                total, total,
            ]  # fmt: skip
        elif choice == 2:
            calls, amounts = [call, ledger.fail(6000)], []
        else:
            calls = [call]
        version = self.chance.choice(["legacy", 0, 1])
        if version == 1:
            signed = version1.sign(
                [unique, *calls],
                [AUTHOR],
                self.devnet.blockhash(),
                unit_limit=1_400_000,
            )
        else:
            signed = self.devnet.sign([unique, *calls], legacy=version == "legacy")
        signature = self.devnet.post(signed, skipPreflight=True)
        self.sent.append(Sent(signature, amounts, fails=not amounts))

    def pass_slots(self, slots=1, skip=0):
        return self.devnet.advance(slots, skip)

    def truth(self):
        """The amounts that are on the chain now, in its order, and who failed."""
        by_signature = {each.signature: each for each in self.sent}
        found, failed = [], []
        top = self.devnet.call("getSlot", {"commitment": "confirmed"})
        config = {"transactionDetails": "signatures", "rewards": False,
                  "commitment": "confirmed"}  # fmt: skip
        for slot in self.devnet.call("getBlocks", 0, top, {"commitment": "confirmed"}):
            block = self.devnet.call("getBlock", slot, config)
            for signature in block["signatures"]:
                sent = by_signature.get(signature)
                if sent is not None and sent.fails:
                    failed.append(signature)
                elif sent is not None:
                    found += [(slot, amount) for amount in sent.amounts]
        return found, failed


@asynccontextmanager
async def following(engine, urls, *, registry=REGISTRY, programs=None, **options):
    """A chain over these endpoints, as a process opens it."""
    if urls[0] not in CHAIN_IDS:  # once, so that it meets no fault later
        CHAIN_IDS[urls[0]] = identity(Devnet(urls[0]).call("getGenesisHash"))
    chain_id = CHAIN_IDS[urls[0]]
    with engine.begin() as connection:
        row = sources.register(
            connection, name="sol", chain_id=chain_id, ordinals="transaction"
        )
    client = SolanaClient(
        urls, chain_id, request_timeout_seconds=5.0,
        sleep=lambda _: asyncio.sleep(0), random=lambda: 0.0,
    )  # fmt: skip
    programs = programs or [FollowedProgram(program, {ADDRESS: 0}, [Recorded])]
    source = SolanaSource("sol", client, programs, Listing(engine, row.id))
    wanted = Wanted(
        0,
        {each.program.name: dict(each.addresses) for each in programs},
        wallets=programs[-1].wallets,
    )
    streams = plan_streams(registry, wanted)
    try:
        chain = Chain(engine, registry, source, row.id, streams, **options)
        await check_genesis(chain)
        yield chain
    finally:
        await source.close()


async def catch_up(chain, steps=300):
    """Step until nothing is missing; returns the outcomes, retrying what may be."""
    outcomes = []
    for _ in range(steps):
        try:
            outcomes.append(await step(chain))
        except Retryable as error:
            outcomes.append(error)
            continue
        if isinstance(outcomes[-1], CaughtUp):
            return outcomes
    raise AssertionError(f"never caught up: {outcomes[-5:]}")


def stored(engine):
    """The facts, in order of position, and the failed transactions."""
    from idl.base58 import to_base58

    with engine.connect() as connection:
        facts = connection.execute(
            text(
                f"SELECT position >> 32, amount, transaction"
                f" FROM facts.{Recorded.spec.table} ORDER BY position"
            )
        ).all()
        failed = connection.execute(
            text("SELECT transaction FROM control.failed_transaction ORDER BY position")
        ).scalars()
        return (
            [(slot, int(amount)) for slot, amount, _ in facts],
            [to_base58(bytes(each)) for each in failed],
        )
