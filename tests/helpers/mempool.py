"""A chain as the write side meets it: a mempool that forgets, blocks that are undone.

`MempoolChain` is a `commands.evm.node.Node`; `index` writes what an indexer would into
the database, one block at a time. Signed bytes are JSON, so that thousands of histories
can be played; the hash is theirs.
"""

import hashlib
import json
from dataclasses import dataclass, field

from sqlalchemy import text

from commands.errors import NodeAway, SigningHeld, SigningRefused
from commands.evm.node import Answer
from commands.evm.signers import SignedBytes
from db.commands.states import Hold

FINAL_DEPTH = 4
QUEUE = 8  # transactions of an account that wait for a nonce, where a node is Edge

_WRITE = text(
    """
    WITH written AS (
        INSERT INTO control.sender_transaction
        SELECT :source, (height << 32) + at, 0, decode(hash, 'hex'),
            :sender, decode("to", 'hex'), nonce, value, decode(data, 'hex'), succeeded,
            coalesce(used, 21000), NULL
        FROM jsonb_to_recordset(cast(:block AS jsonb)) AS t(height bigint, at int,
            hash text, "to" text, nonce bigint, value numeric, data text,
            succeeded boolean, used bigint)
    ), covered AS (
        INSERT INTO control.coverage
        VALUES (:source, 'chain.transactions', :filter, cast(:blocks AS int8multirange))
        ON CONFLICT (source, event, filter) DO UPDATE SET blocks = excluded.blocks
    )
    UPDATE control.source SET head = :height - 1, final = greatest(final, :final)
    WHERE id = :source
    """
)
_UNDO = text(
    """
    WITH gone AS (
        DELETE FROM control.sender_transaction WHERE source = :source
            AND position >> 32 >= :height AND sender = :sender
    )
    UPDATE control.coverage SET blocks = cast(:blocks AS int8multirange)
    WHERE source = :source AND filter = :filter
    """
)


@dataclass
class JsonSigner:
    """Signs with nothing: for simulations; `refuses` are bytes that it will not sign.

    It remembers what it signed for each nonce, as the signing side does, wherever the
    database comes from; `away` makes it answer nobody.
    """

    name: str
    address: bytes
    refuses: set = field(default_factory=set)
    away: bool = False
    memory: dict = field(default_factory=dict)

    def permits(self, payload):
        if self.away:
            raise SigningHeld(Hold.SIGNER_UNAVAILABLE, "it does not answer")
        if payload.data in self.refuses:
            raise SigningRefused("the signer refuses it")

    def floor(self):
        return max(self.memory, default=-1) + 1

    def sign(self, payload):
        self.permits(payload)
        known = self.memory.setdefault(payload.nonce, payload.data)
        if payload.data and known != payload.data:
            raise SigningRefused("something else was signed for this nonce")
        content = {
            "nonce": payload.nonce,
            "price": payload.gas_price,
            "to": payload.to.hex(),
            "value": payload.value,
            "data": payload.data.hex(),
            "gas": payload.gas,
        }
        raw = json.dumps(content).encode()
        return SignedBytes(raw, hashlib.sha256(raw).digest())


class MempoolChain:
    """One sender's chain: `blocks` are lists of transactions, `pool` by nonce.

    `pools` are those of its nodes, the first one's is `pool`; nodes that are `isolated`
    tell the others nothing, and make no blocks. As `edge` they are like Polygon Edge up
    to 0.9: what a node holds for a nonce it keeps, and it answers a hash all the same,
    as when the queue of the account is full; any price over `least` is mined.
    """

    def __init__(self, rng, address):
        self.rng, self.address = rng, address
        self.blocks, self.pools = [[]], [{}]
        self.edge, self.halted, self.isolated = False, False, set()
        self.takes = 0  # how often a node said that it takes bytes, or has them
        self.suggested = 0  # the most that was ever asked for gas
        self.base, self.faults, self.final = 10, True, 0
        self.indexed = []
        self.salt = 0
        self.used = 0
        self.balance, self.reverting = True, set()
        self.used_gas = {}  # by calls, where it is not that of a transfer
        self.least, self.unwanted = 0, {}  # a node's price limit; what it refuses

    # as a node -----------------------------------------------------------------

    def gas_price(self):
        if self.faults and self.rng.random() < 0.05:
            raise NodeAway("no answer")
        return self.base - 2 + self.rng.randrange(6)

    def priority_fee(self):
        return 1

    def send(self, raw):
        roll = self.rng.random() if self.faults else 1.0
        if roll < 0.12:
            raise NodeAway("lost on the way")
        answer = self.take(raw)
        if roll < 0.30:
            raise NodeAway("taken, and the answer was lost")
        return Answer(answer, hashlib.sha256(raw).digest() if answer == "ok" else None)

    def simulate(self, sender, to, value, data):
        if self.faults and self.rng.random() < 0.05:
            raise NodeAway("no answer")
        return 50_000

    def replay(self, mined):
        return None

    @property
    def pool(self):
        return self.pools[0]

    @pool.setter
    def pool(self, pool):
        self.pools[0] = pool

    def take(self, raw, at=0):
        pool = self.pools[at]
        transaction = json.loads(raw) | {"hash": hashlib.sha256(raw).hexdigest()}
        nonce = transaction["nonce"]
        if nonce < self.consumed():
            return "nonce too low"
        if not self.balance:
            return "insufficient funds for gas * price + value"
        if transaction["data"] in self.unwanted:
            return self.unwanted[transaction["data"]]
        if transaction["price"] < self.least:
            return "transaction underpriced"
        known = pool.get(nonce)
        self.takes += 1
        if known is not None and known["hash"] == transaction["hash"]:
            return "already known"
        if self.edge and (known is not None or self._queued(pool) >= QUEUE):
            return "ok"
        if known is not None and known["price"] >= transaction["price"]:
            self.takes -= 1
            return "replacement tx underpriced"
        pool[nonce] = transaction
        self._gossip(transaction, at)
        return "ok"

    @staticmethod
    def hash_of(raw):
        return hashlib.sha256(raw).digest()

    def _queued(self, pool):
        """How many transactions wait for a nonce that is missing."""
        nonce = self.consumed()
        while nonce in pool:
            nonce += 1
        return sum(each > nonce for each in pool)

    def _gossip(self, transaction, at):
        for to, pool in enumerate(self.pools):
            apart = {to, at} & self.isolated
            if to != at and not apart and self.rng.random() < 0.6:
                pool.setdefault(transaction["nonce"], transaction)

    def consumed(self):
        return self.used

    # as a world ----------------------------------------------------------------

    def mine(self):
        if self.halted:
            return
        block, nonce = [], self.consumed()
        pool = self.pools[self._proposer()]
        while nonce in pool and len(block) < 3:
            if pool[nonce]["price"] < self.base and not self.edge:
                break
            block.append(pool.pop(nonce))
            nonce += 1
        for each in self.pools:
            for used in [n for n in each if n < nonce]:
                del each[used]
        self.used = nonce
        self.blocks.append(block)
        self.final = max(self.final, len(self.blocks) - 1 - FINAL_DEPTH)

    def _proposer(self):
        if len(self.pools) == 1:
            return 0
        able = [at for at in range(len(self.pools)) if at not in self.isolated]
        return self.rng.choice(able)

    def reorg(self, depth):
        for _ in range(min(depth, FINAL_DEPTH - 1, len(self.blocks) - 1 - self.final)):
            for transaction in self.undo():
                if self.rng.random() < 0.7:
                    for pool in self.pools:
                        pool.setdefault(transaction["nonce"], transaction)

    def undo(self):
        """Take the last block away; returns what was in it."""
        block = self.blocks.pop()
        self.used -= len(block)
        return block

    def outside(self):
        """Somebody uses the key in a wallet of their own."""
        nonce = self.consumed()
        self.salt += 1
        digest = hashlib.sha256(f"outside {self.salt}".encode()).hexdigest()
        foreign = {
            "nonce": nonce, "price": self.base + 50, "to": "ff" * 20, "value": 0,
            "data": "", "hash": digest,
        }  # fmt: skip
        for pool in self.pools:
            pool[nonce] = foreign

    def index(self, engine, source, *, finality=FINAL_DEPTH, blocks=1):
        """Bring the index some blocks nearer to the chain, and undo what is gone."""
        height = len(self.indexed)
        while height and (
            height > len(self.blocks)
            or self.indexed[height - 1] is not self.blocks[height - 1]
        ):
            height -= 1
        if height < len(self.indexed):
            del self.indexed[height:]
            self._run(engine, _UNDO, source, height=height)
        fresh = self.blocks[height : height + blocks]
        if not fresh:
            return
        self.indexed += fresh
        rows = [
            {
                **each, "at": at, "height": height + above,
                "succeeded": each["data"] not in self.reverting,
                "used": self.used_gas.get(each["data"], 21_000),
            }
            for above, block in enumerate(fresh)
            for at, each in enumerate(block)
        ]  # fmt: skip
        height += len(fresh)
        self._run(
            engine, _WRITE, source, height=height, block=json.dumps(rows),
            final=height - 1 - finality,
        )  # fmt: skip

    def _blocks(self, height):
        return f"{{[0,{height})}}" if height else "{}"

    def _run(self, engine, statement, source, *, height, **more):
        """Run a statement that leaves the index with blocks below a height."""
        values = {
            "source": source, "sender": self.address, "blocks": self._blocks(height),
            "filter": "0x" + self.address.hex(), "height": height, **more,
        }  # fmt: skip
        with engine.begin() as connection:
            connection.execute(statement, values)
