"""One seeded schedule of everything that goes wrong with what is relayed on Solana.

The cluster, its nodes and its index are those of `solana_schedules`. Two accounts hand
in what a wallet signed, also the same bytes, also after it landed; the process dies
between storing and sending; passes of `work_wallets` are interleaved and dropped
anywhere.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from unittest.mock import patch

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from sqlalchemy import text

from commands.errors import BadTransaction, NodeAway, Refused
from commands.solana import wallets
from commands.solana.lane import SolanaLane
from commands.submit import CommandService, Submission
from db import sources
from db.commands.solana.closing import cancel
from db.journal.append import Actor
from db.registry import Registry
from helpers.solana_schedules import (
    CHAIN,
    COMMANDS,
    FINALITY,
    POLICY,
    PROGRAM,
    STEPS,
    VAULTS,
    NodeDouble,
    World,
)
from idl.base58 import from_base58

WALLET = Keypair.from_seed(sha256(b"the wallet of schedules, for tests only").digest())
TENANTS = ("anna", "ben")


class Died(BaseException):
    """The process was killed."""


class MortalNode(NodeDouble):
    """Nodes whose asker may die just before it hands bytes over."""

    dies = False

    def send(self, raw):
        if self.dies:
            raise Died
        return super().send(raw)


@dataclass(frozen=True, slots=True)
class Service(CommandService):
    """Accepts without a journal, which has nothing to do with it."""

    def note_accepted(self, connection, actor, row):
        pass


def prepare(stage):
    """The row of the chain that every schedule starts from; its number."""
    with stage.begin() as connection:
        row = sources.register(
            connection, name="sim", chain_id=CHAIN, ordinals="transaction"
        )
    stage.save()
    return row.id


class RelayWorld(World):
    """A schedule of what is handed in, sent, lost, undone and settled."""

    def __init__(self, stage, source, seed):
        super().__init__(stage, source, seed)
        self.node = MortalNode(self.cluster, self.rng)
        self.signed, self.given = [], {}
        places = dict.fromkeys(VAULTS)
        self.lane = SolanaLane(
            "sim", source, self.node, places, followed={PROGRAM: None}
        )  # fmt: skip
        self.service = Service(
            engine=stage, at_once=stage, registry=Registry.of([]), lanes=[self.lane],
            clock=lambda: self.now,
        )  # fmt: skip

    def sign(self):
        """What the wallet signs: with a blockhash of now, or of some blocks ago."""
        number = self.rng.randrange(COMMANDS)
        meta = AccountMeta(WALLET.pubkey(), is_signer=True, is_writable=True)
        data = bytes([number, *self.rng.randbytes(4)])
        call = Instruction(Pubkey.from_bytes(PROGRAM), data, [meta])
        block = self.rng.choice(self.cluster.blocks[-6:])
        message = MessageV0.try_compile(
            WALLET.pubkey(), [call], [], Hash.from_bytes(block.hash)
        )
        self.signed.append(bytes(VersionedTransaction(message, [WALLET])))

    def hand_in(self):
        """Give bytes, new or again; the process may die when they are stored."""
        if not self.signed or self.rng.random() < 0.6:
            self.sign()
        raw = self.rng.choice(self.signed[-3:])
        tenant = self.rng.choice(TENANTS)
        asked = Submission(Actor(tenant, tenant), str(uuid.uuid4()), {})
        self.node.dies = self.rng.random() < 0.2
        try:
            row, _ = self.lane.relay_any(self.service, raw, asked)
        except (BadTransaction, NodeAway, Refused, Died):
            return
        finally:
            self.node.dies = False
        first = self.given.setdefault((tenant, raw), row.id)
        assert first == row.id, "the same bytes are two commands"

    def step(self):
        """Do one thing of all that may happen."""
        dice = self.rng.random()
        if dice < 0.30:
            for _ in range(self.rng.randint(1, 3)):
                self.cluster.advance()
        elif dice < 0.38:
            self.cluster.fork(self.rng.randint(1, FINALITY - 1))
        elif dice < 0.50:
            if not self.is_slow or self.rng.random() < 0.1:
                self.index(self.rng.randint(self.cluster.final, self.cluster.slot))
        elif dice < 0.64:
            self.hand_in()
        elif dice < 0.67 and self.signed:
            self.cluster.take(self.rng.choice(self.signed))  # it sends by itself
        elif dice < 0.69 and self.given:
            with self.stage.begin() as connection:
                one = self.rng.choice([*self.given.values()])
                cancel(connection, one, self.now)
        elif dice < 0.75 and self.workers:
            self.workers.pop(self.rng.randrange(len(self.workers))).close()
        else:
            self.work()

    def work(self):
        """Take a step of a pass over what was handed in."""
        self.now += timedelta(seconds=self.rng.choice([0, 1, 3]))
        if len(self.workers) < 2:
            self.workers.append(self.lane.work_wallets(self.service))
        one = self.rng.choice(self.workers)
        try:
            if next(one, None) is None:
                self.workers.remove(one)
        except NodeAway:
            self.workers.remove(one)

    def passes(self):
        """One pass, to its end."""
        return self.lane.work_wallets(self.service)

    def wrong(self):
        """What does not hold in the end: each command says what the cluster has."""
        found, seen = [], set()
        with self.stage.begin() as connection:
            rows = connection.execute(
                text(
                    "SELECT c.id, c.state, c.reason, c.transaction, c.tenant, c.height,"
                    " c.arguments ->> 'signature' AS signature, a.raw"
                    " FROM control.command c"
                    " JOIN control.solana_attempt a ON a.command = c.id"
                )
            ).all()
        for row in rows:
            signature = from_base58(row.signature, 64)
            landed = self.cluster.found(signature)
            told = "expired", "cancelled"
            if landed is not None:
                told = ("succeeded",) if landed[1] is None else ("reverted",)
            if (row.tenant, row.signature) in seen:
                found.append(f"{row.signature} is two commands of {row.tenant}")
            seen.add((row.tenant, row.signature))
            if row.state not in told:
                found.append(f"{row.id} is {row.state}, and must be {told}")
            elif landed is not None and (row.height, row.reason or None) not in (
                landed, (landed[0], "it landed before its cancel"),
            ):  # fmt: skip
                found.append(f"{row.id} tells {row.height} {row.reason}, not {landed}")
            if bytes(row.transaction) != signature or bytes(row.raw) not in self.signed:
                found.append(f"{row.id} keeps other bytes than were given")
        return found


def play(stage, source, seed):
    """Play a schedule to its end."""
    stage.back()
    with patch.object(wallets, "POLICY", POLICY):
        world = RelayWorld(stage, source, seed)
        world.index()
        for _ in range(STEPS):
            world.step()
        world.settle()
    return world


def run(stage, source, seed):
    """Play a schedule; what does not hold after it."""
    return play(stage, source, seed).wrong()
