"""A chain as the write side meets it: a mempool that forgets, blocks that are undone.

`MempoolChain` is a `commands.node.Node`; `index` writes what an indexer would into the
database, one block at a time. Signed bytes are JSON, so that thousands of histories can
be played; the hash is theirs.
"""

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import text

from commands.errors import NodeAway
from commands.signers import Signed

FINAL_DEPTH = 4


@dataclass(frozen=True)
class JsonSigner:
    """Signs with nothing: for simulations."""

    name: str
    address: bytes

    def sign(self, payload):
        content = {
            "nonce": payload.nonce,
            "price": payload.gas_price,
            "to": payload.to.hex(),
            "data": payload.data.hex(),
            "gas": payload.gas,
        }
        raw = json.dumps(content).encode()
        return Signed(raw, hashlib.sha256(raw).digest())


class MempoolChain:
    """One sender's chain: `blocks` are lists of transactions, `pool` by nonce."""

    def __init__(self, rng, address):
        self.rng, self.address = rng, address
        self.blocks, self.pool = [[]], {}
        self.base, self.faults, self.final = 10, True, 0
        self.indexed = []
        self.salt = 0

    # as a node -----------------------------------------------------------------

    def gas_price(self):
        if self.faults and self.rng.random() < 0.05:
            raise NodeAway("no answer")
        return self.base - 2 + self.rng.randrange(6)

    def send(self, raw):
        roll = self.rng.random() if self.faults else 1.0
        if roll < 0.12:
            raise NodeAway("lost on the way")
        answer = self.take(raw)
        if roll < 0.30:
            raise NodeAway("taken, and the answer was lost")
        return answer

    def take(self, raw):
        transaction = json.loads(raw) | {"hash": hashlib.sha256(raw).hexdigest()}
        nonce = transaction["nonce"]
        if nonce < self.consumed():
            return "nonce too low"
        known = self.pool.get(nonce)
        if known is not None and known["hash"] == transaction["hash"]:
            return "already known"
        if known is not None and known["price"] >= transaction["price"]:
            return "replacement tx underpriced"
        self.pool[nonce] = transaction
        return "ok"

    def consumed(self):
        return sum(len(transactions) for transactions in self.blocks)

    # as a world ----------------------------------------------------------------

    def mine(self):
        block, nonce = [], self.consumed()
        while nonce in self.pool and len(block) < 3:
            if self.pool[nonce]["price"] < self.base:
                break
            block.append(self.pool.pop(nonce))
            nonce += 1
        self.pool = {n: tx for n, tx in self.pool.items() if n >= nonce}
        self.blocks.append(block)
        self.final = max(self.final, len(self.blocks) - 1 - FINAL_DEPTH)

    def reorg(self, depth):
        for _ in range(min(depth, FINAL_DEPTH - 1, len(self.blocks) - 1 - self.final)):
            for transaction in self.blocks.pop():
                if self.rng.random() < 0.7:
                    self.pool.setdefault(transaction["nonce"], transaction)

    def outside(self):
        """Somebody uses the key in a wallet of their own."""
        nonce = self.consumed()
        self.salt += 1
        digest = hashlib.sha256(f"outside {self.salt}".encode()).hexdigest()
        self.pool[nonce] = {
            "nonce": nonce,
            "price": self.base + 50,
            "to": "",
            "data": "",
            "hash": digest,
        }

    def index(self, engine, source, *, finality=FINAL_DEPTH):
        """Bring the index one block nearer to the chain, or undo one that is gone."""
        last = len(self.indexed) - 1
        while self.indexed and (
            last >= len(self.blocks) or self.indexed[last] is not self.blocks[last]
        ):
            self.indexed.pop()
            self._write(
                engine, "DELETE FROM control.sender_transaction"
                " WHERE source = :source AND position >> 32 >= :height",
                source=source, height=last,
            )  # fmt: skip
            last -= 1
        height = len(self.indexed)
        if height >= len(self.blocks):
            return
        block = self.blocks[height]
        self.indexed.append(block)
        with engine.begin() as connection:
            for at, transaction in enumerate(block):
                connection.execute(
                    text(
                        "INSERT INTO control.sender_transaction VALUES (:source,"
                        " (:height::bigint << 32) + :at, 0, decode(:hash, 'hex'),"
                        " :sender, NULL, :nonce, 0, '', true, 21000, NULL)".replace(
                            ":height::bigint", "cast(:height AS bigint)"
                        )
                    ),
                    {
                        "source": source, "height": height, "at": at,
                        "hash": transaction["hash"], "sender": self.address,
                        "nonce": transaction["nonce"],
                    },
                )  # fmt: skip
            connection.execute(
                text(
                    "INSERT INTO control.coverage VALUES (:source,"
                    " 'chain.transactions', :sender, :blocks)"
                    " ON CONFLICT (source, event, filter)"
                    " DO UPDATE SET blocks = excluded.blocks"
                ),
                {
                    "source": source, "sender": "0x" + self.address.hex(),
                    "blocks": f"{{[0,{height + 1})}}",
                },
            )  # fmt: skip
            connection.execute(
                text("UPDATE control.source SET head = :head, final = :final"),
                {"head": height, "final": height - finality},
            )

    def _write(self, engine, statement, **parameters):
        with engine.begin() as connection:
            connection.execute(text(statement), parameters)
