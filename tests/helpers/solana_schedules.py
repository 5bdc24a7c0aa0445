"""One seeded schedule of everything that goes wrong with commands on Solana.

Workers are `commands.solana.work.work` generators, interleaved between any two of their
steps and dropped anywhere, over a cluster that loses bytes, skips slots, replaces
confirmed ones and lets blockhashes run out. The program keeps no receipts: what is done
twice is counted twice. A schedule runs in one transaction that is undone in the end.
"""

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from sqlalchemy import text

from commands.errors import NodeAway
from commands.solana.context import Policy, SignerContext
from commands.solana.guard import GuardedSigner, Rules
from commands.solana.node import Answer, Blockhash, Finalized, NoMoney, Simulated
from commands.solana.signers import LocalSigner
from commands.solana.work import work
from db import sources
from db.commands.accept import Request, accept
from db.commands.solana.attempts import register_signer
from db.commands.solana.closing import cancel
from db.declare.solana.accounts import Named

CHAIN = "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"
KEY = Keypair.from_seed(sha256(b"the signer of schedules, for tests only").digest())
PROGRAM = bytes(Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"))
START = datetime(2026, 1, 1, tzinfo=UTC)
VAULTS = tuple(sha256(f"vault {n}".encode()).digest() for n in range(2))
VALID, FINALITY = 6, 4  # blocks that a blockhash is valid for, slots until final
STEPS, QUIET_ROUNDS, COMMANDS = 70, 60, 3
CALM_ROUNDS = 3  # in which nothing is left to do, and a schedule is over
ENDS = {"succeeded", "reverted", "cancelled", "expired"}
POLICY = Policy(
    rebroadcast_after=timedelta(seconds=2), claim_for=timedelta(seconds=3),
    held_again_after=timedelta(seconds=9), look_after=timedelta(seconds=4),
    max_in_flight=4,
)  # fmt: skip


_LEFT = text(
    "SELECT EXISTS (SELECT FROM control.command WHERE state <> ALL (:ends))"
    " OR EXISTS (SELECT FROM control.solana_attempt WHERE state = 'open')"
)


@dataclass
class Block:
    """A block: its slot and height, and what landed in it, with its error."""

    slot: int
    height: int
    landed: dict[bytes, tuple[int, str | None]] = field(default_factory=dict)

    @property
    def hash(self):
        return sha256(f"block {self.slot} {id(self)}".encode()).digest()


class Cluster:
    """Slots and blocks, and the bytes that some leader may still put into one."""

    def __init__(self, rng):
        self.rng = rng
        self.slot = self.top = 9  # the open slot, and the highest that ever was
        self.blocks = [Block(at, at) for at in range(10)]
        self.hashes = {each.hash: each.height for each in self.blocks}
        self.pending = {}  # by signature: the transaction, and its command's number
        self.sent = {}  # all that any node ever had

    @property
    def final(self):
        return self.top - FINALITY

    def tip(self, final=False):
        last = self.final if final else self.slot
        return [each for each in self.blocks if each.slot <= last][-1]

    def found(self, signature):
        """The slot and error of what landed; None: nothing."""
        for block in self.blocks:
            if signature in block.landed:
                return block.slot, block.landed[signature][1]
        return None

    def take(self, raw):
        sent = VersionedTransaction.from_bytes(raw)
        number = sent.message.instructions[-1].data[0]
        self.pending[bytes(sent.signatures[0])] = (sent, number)
        self.sent |= self.pending

    def advance(self):
        """Open a slot; most have a block, with some of what is pending."""
        self.slot += 1
        self.top = max(self.top, self.slot)
        if self.rng.random() < 0.15:
            return
        block = Block(self.slot, self.blocks[-1].height + 1)
        for signature, (sent, number) in list(self.pending.items()):
            born = self.hashes.get(bytes(sent.message.recent_blockhash))
            known = self.found(signature) is not None  # it lands once at most
            if known or born is None or block.height > born + VALID:
                del self.pending[signature]
            elif self.rng.random() < 0.4:
                dice = self.rng.random()
                error = "Short" if dice < 0.08 else "Broken" if dice < 0.12 else None
                block.landed[signature] = (number, error)
                del self.pending[signature]
        self.blocks.append(block)
        self.hashes[block.hash] = block.height

    def fork(self, depth):
        """Replace the last slots; some of what was in them is pending again."""
        depth = max(0, min(depth, self.slot - self.final - 1))
        gone = [each for each in self.blocks if each.slot > self.slot - depth]
        self.blocks = [each for each in self.blocks if each not in gone]
        for block in gone:
            self.hashes.pop(block.hash, None)
            for signature in block.landed:
                if signature in self.sent and self.rng.random() < 0.2:
                    self.pending[signature] = self.sent[signature]
        self.slot -= depth

    def effects(self):
        """How often each command had its effect, in blocks that are."""
        counts = dict.fromkeys(range(COMMANDS), 0)
        for block in self.blocks:
            for number, error in block.landed.values():
                counts[number] += error is None
        return counts


class NodeDouble:
    """The nodes of the cluster: away at times, losing bytes, wrong of heights."""

    def __init__(self, cluster, rng):
        self.cluster, self.rng, self.quiet, self.poor = cluster, rng, False, False
        self.lies = rng.choice([0, 0, 0.5])  # how often it is wrong of the height

    def _maybe_away(self, share=0.06):
        if not self.quiet and self.rng.random() < share:
            raise NodeAway("no node answers. Ask again soon")

    def blockhash(self):
        self._maybe_away()
        tip = self.cluster.tip()
        return Blockhash(tip.hash, tip.height + VALID, tip.slot)

    def finalized(self):
        self._maybe_away()
        tip = self.cluster.tip(final=True)
        lies = not self.quiet and self.rng.random() < self.lies
        return Finalized(self.cluster.final, tip.height + lies * 40)

    def simulate(self, raw, payer, writable):
        self._maybe_away()
        if self.poor and not self.quiet:
            raise NoMoney("the payer has no lamports")
        if not self.quiet and self.rng.random() < 0.25:  # this vault, now
            return Simulated(0, {"InstructionError": [2, "InvalidArgument"]})
        return Simulated(
            self.rng.randint(900, 9_999), lamports=self.rng.randint(0, 9),
            price=self.rng.randint(0, 10**7), recent=self.blockhash(),
        )  # fmt: skip

    def send(self, raw):
        if self.quiet or self.rng.random() < 0.7:
            self.cluster.take(raw)
        self._maybe_away(0.2)
        return Answer("the node answered", taken=True)

    def cannot_land(self, signature, blockhash):
        self._maybe_away()
        landed = self.cluster.found(signature) is not None
        return not landed and not (blockhash and self.valid(blockhash))

    def knows(self, signature):
        self._maybe_away()
        return self.cluster.found(signature) is not None

    def too_old(self, blockhash):
        self._maybe_away()
        return not self.valid(blockhash)

    def valid(self, blockhash):
        """Whether the next block may hold a transaction with it."""
        return (
            self.cluster.tip().height < self.cluster.hashes.get(blockhash, -99) + VALID
        )


def request(number, source):
    """What asks for one effect, which its instruction's first byte names."""
    meta = AccountMeta(KEY.pubkey(), is_signer=True, is_writable=True)
    vault = AccountMeta(Pubkey.from_bytes(VAULTS[0]), is_signer=False, is_writable=True)
    call = Instruction(Pubkey.from_bytes(PROGRAM), bytes([number, 7, 9]), [meta, vault])
    return Request(
        tenant="t", idempotency_key=str(number), kind="test", arguments={"n": number},
        source=source, signer="s", target=PROGRAM, data=bytes(call),
    )  # fmt: skip


def prepare(stage):
    """The rows that every schedule starts from; the id of its source."""
    with stage.begin() as connection:
        row = sources.register(
            connection, name="sim", chain_id=CHAIN, ordinals="transaction"
        )
        register_signer(
            connection, name="s", source_id=row.id, address=bytes(KEY.pubkey()),
            max_in_flight=4,
        )  # fmt: skip
        for number in range(COMMANDS):
            accept(
                connection, request(number, row.id), START,
                command_id=uuid.UUID(int=number + 1),
            )  # fmt: skip
    stage.save()
    return row.id


@dataclass(frozen=True)
class Call:
    """The part of a declared call that the worker asks for."""

    retried: frozenset = frozenset({"Short"})
    idl: object = None
    accounts = {"vault": Named("vault")}  # noqa: RUF012 (no field)
    layout = SimpleNamespace(
        accounts=[SimpleNamespace(name="payer"), SimpleNamespace(name="vault")]
    )


class World:
    """One schedule: a cluster, its index, workers, and a seed that decides all."""

    def __init__(self, stage, source, seed):
        self.stage, self.source, self.rng = stage, source, random.Random(seed)
        self.now = START
        self.cluster = Cluster(self.rng)
        self.node = NodeDouble(self.cluster, self.rng)
        self.is_slow = seed % 3 == 0
        self.synced, self.workers = 0, []  # up to where nothing is undone any more
        local = LocalSigner("s", bytes(KEY.pubkey()), KEY)
        rules = Rules("s", CHAIN, named=dict.fromkeys(VAULTS, "vault"))
        signer = GuardedSigner(stage, local, rules, lambda: self.now)
        self.context = SignerContext(
            stage,
            signer,
            self.node,
            POLICY,
            lambda: self.now,
            {"test": Call()},
            {"vault": VAULTS},
        )

    def index(self, until=None):
        """Write what a walk has crossed up to a slot, and what became final."""
        last = self.cluster.slot if until is None else until
        binds = {"s": self.source, "a": PROGRAM}
        with self.stage.begin() as connection:
            for table, slot in (
                ("signature", "slot"), ("failed_transaction", "position >> 32"),
            ):  # fmt: skip
                connection.execute(
                    text(f"DELETE FROM control.{table} WHERE source = :s"
                         f" AND {slot} > :synced"),
                    {"s": self.source, "synced": self.synced},
                )  # fmt: skip
            for block in self.cluster.blocks:
                if self.synced < block.slot <= last:
                    self._write(connection, block)
            final = min(self.cluster.final, last)
            connection.execute(
                text("UPDATE control.signature SET final = true WHERE source = :s"
                     " AND slot <= :final"), {"s": self.source, "final": final},
            )  # fmt: skip
            connection.execute(
                text("UPDATE control.source SET head = :head,"
                     " final = greatest(final, :final) WHERE id = :s"),
                {"s": self.source, "head": last, "final": final},
            )  # fmt: skip
            connection.execute(
                text("INSERT INTO control.listing VALUES (:s, :a,"
                     " int8multirange(int8range(0, :last, '[]'))) ON CONFLICT"
                     " (source, address) DO UPDATE SET slots = excluded.slots"),
                {**binds, "last": last},
            )  # fmt: skip
            self.synced = max(self.synced, final)

    def _write(self, connection, block):
        for place, (signature, (_, error)) in enumerate(block.landed.items()):
            connection.execute(
                text("INSERT INTO control.signature (source, address, slot, signature,"
                     " written, final) VALUES (:s, :a, :slot, :signature, true, false)"
                     ),
                {"s": self.source, "a": PROGRAM, "slot": block.slot,
                 "signature": signature},
            )  # fmt: skip
            if error:
                connection.execute(
                    text("INSERT INTO control.failed_transaction (source, position,"
                         " block_time, transaction, error)"
                         " VALUES (:s, :at, 0, :signature, :error)"),
                    {"s": self.source, "at": block.slot << 32 | place << 16,
                     "signature": signature, "error": error},
                )  # fmt: skip

    def step(self):
        """Do one thing of all that may happen."""
        dice = self.rng.random()
        if dice < 0.30:
            for _ in range(self.rng.randint(1, 3)):
                self.cluster.advance()
        elif dice < 0.39:
            self.cluster.fork(self.rng.randint(1, FINALITY - 1))
        elif dice < 0.50:
            if self.is_slow and self.rng.random() < 0.9:
                return  # the index is far behind
            self.index(self.rng.randint(self.cluster.final, self.cluster.slot))
        elif dice < 0.53:
            number = self.rng.randrange(COMMANDS)
            with self.stage.begin() as connection:
                cancel(connection, uuid.UUID(int=number + 1), self.now)
        elif dice < 0.55:
            self.node.poor = not self.node.poor
        elif dice < 0.60 and len(self.workers) < 3:
            self.workers.append(work(self.context))
        elif dice < 0.66 and self.workers:
            self.workers.pop(self.rng.randrange(len(self.workers))).close()
        else:
            self.now += timedelta(seconds=self.rng.choice([0, 1, 3]))
            if not self.workers:
                self.workers.append(work(self.context))
            one = self.rng.choice(self.workers)
            if next(one, None) is None:
                self.workers.remove(one)

    def settle(self):
        """Let everything come to rest."""
        for each in self.workers:
            each.close()
        self.node.quiet = True
        calm = 0
        for _ in range(QUIET_ROUNDS):
            for _ in range(2):
                self.cluster.advance()
            self.index()
            self.now += timedelta(seconds=10)
            for _ in self.passes():
                pass
            calm = calm + 1 if self._is_over() else 0
            if calm == CALM_ROUNDS:
                return

    def passes(self):
        """One pass of a worker, to its end."""
        return work(self.context)

    def _is_over(self):
        """Whether nothing is left that may land, be sent, or be signed."""
        if self.cluster.pending:
            return False
        with self.stage.begin() as connection:
            return not connection.execute(_LEFT, {"ends": list(ENDS)}).scalar()

    def switched(self):
        """The commands for which transactions with several vaults were sent."""
        found = {}
        for sent, number in self.cluster.sent.values():
            keys = {bytes(key) for key in sent.message.account_keys}
            found.setdefault(number, set()).update(keys & {*VAULTS})
        return [number for number, vaults in found.items() if len(vaults) > 1]

    def wrong(self):
        """What does not hold in the end."""
        found = []
        effects = self.cluster.effects()
        with self.stage.begin() as connection:
            rows = connection.execute(text(
                "SELECT id, state, transaction FROM control.command ORDER BY id"
            )).all()  # fmt: skip
        for row in rows:
            number = row.id.int - 1
            done = effects[number]
            if done > 1:
                found.append(f"command {number} had its effect {done} times")
            if row.state not in ENDS:
                found.append(f"command {number} is stuck: {row.state}")
            elif (row.state == "succeeded") != (done == 1):
                found.append(f"command {number} is {row.state} with {done} effects")
            if row.state == "succeeded":
                landed = self.cluster.found(bytes(row.transaction))
                if landed is None or landed[1] is not None:
                    found.append(f"command {number} names what did not succeed")
        return found


def run(stage, source, seed):
    """Play a schedule; what does not hold after it."""
    return play(stage, source, seed).wrong()


def play(stage, source, seed):
    """Play a schedule to its end."""
    stage.back()
    world = World(stage, source, seed)
    world.index()
    for _ in range(STEPS):
        world.step()
    world.settle()
    return world
