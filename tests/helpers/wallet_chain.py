"""A wallet's chain, and an index that reads it only from when it is told to.

`WalletChain` is the node and the chain of `helpers.mempool`, with a wallet that may
send by itself. Its index keeps the blocks that it read for the wallet (`covered`)
apart from those that it read at all; as with `indexer.follow` the lowest gap is next.
"""

import hashlib
import json
from itertools import groupby

from commands.errors import NodeAway
from commands.evm.raw import RawTransaction
from db.commands.watching import watched
from helpers.mempool import _UNDO, _WRITE, MempoolChain

CHAIN_ID = 1
INDEX_DEPTH = 4


def sign(address, nonce, price, to, data):
    """The bytes of a wallet: JSON, as those of `helpers.mempool.JsonSigner`."""
    content = {
        "from": address.hex(), "nonce": nonce, "price": price, "to": to.hex(),
        "value": 0, "data": data.hex(), "gas": 21_000,
    }  # fmt: skip
    return json.dumps(content).encode()


def read(raw):
    """What `commands.evm.raw.read_raw` reads from real bytes."""
    content = json.loads(raw)
    return RawTransaction(
        raw=raw, hash=hashlib.sha256(raw).digest(), chain_id=CHAIN_ID,
        sender=bytes.fromhex(content["from"]), nonce=content["nonce"],
        gas=content["gas"], to=bytes.fromhex(content["to"]), value=0,
        data=bytes.fromhex(content["data"]), gas_price=content["price"],
    )  # fmt: skip


class WalletChain(MempoolChain):
    """One wallet's chain; `given` and `own` are hashes that we, or it, handed over."""

    def __init__(self, rng, address):
        super().__init__(rng, address)
        self.given, self.own, self.covered = set(), set(), set()

    # as a node -----------------------------------------------------------------

    def nonce(self, address, height=None):
        if self.faults and self.rng.random() < (0.05 if height is None else 0.3):
            raise NodeAway("no answer")
        blocks = self.blocks if height is None else self.blocks[: height + 1]
        return sum(len(block) for block in blocks)

    def send(self, raw):
        self.given.add(hashlib.sha256(raw).digest())
        return super().send(raw)

    # as a world ----------------------------------------------------------------

    def send_itself(self, raw):
        """The wallet hands its bytes to a node that is not ours."""
        self.own.add(hashlib.sha256(raw).digest())
        self.take(raw)

    def runs(self, data, nonces=None):
        """Every call on the chain: height, hash, whether it succeeded, nonce."""
        return [
            (height, bytes.fromhex(tx["hash"]), succeeds(tx), tx["nonce"])
            for height, block in enumerate(self.blocks)
            for tx in block
            if tx["data"] == data.hex() and (nonces is None or tx["nonce"] in nonces)
        ]

    def settled_by(self, nonce):
        """The transaction of a final block that used a nonce, if one did."""
        for block in self.blocks[: self.final + 1]:
            for tx in block:
                if tx["nonce"] == nonce:
                    return tx
        return None

    def index(self, engine, source, *, finality=INDEX_DEPTH, blocks=1):
        """Undo what is gone, then read some blocks of the lowest gap there is."""
        self._undo_gone(engine, source)
        with engine.begin() as connection:
            first = watched(connection, source).get(self.address)

        def lacks(height):
            unread = first is not None and height >= first
            return height >= len(self.indexed), unread and height not in self.covered

        gaps = ((height, lacks(height)) for height in range(len(self.blocks)))
        for (fresh, wallet), found in groupby(gaps, key=lambda each: each[1]):
            if not (fresh or wallet):
                continue
            heights = [height for height, _ in found][:blocks]
            if fresh:
                self.indexed += [self.blocks[height] for height in heights]
            self._write(engine, source, heights if wallet else [], finality)
            return

    def _undo_gone(self, engine, source):
        height = len(self.indexed)
        while height and (
            height > len(self.blocks)
            or self.indexed[height - 1] is not self.blocks[height - 1]
        ):
            height -= 1
        if height < len(self.indexed):
            del self.indexed[height:]
            self.covered = {each for each in self.covered if each < height}
            self._run(engine, _UNDO, source, height=height)

    def _write(self, engine, source, heights, finality):
        rows = [
            {**tx, "at": at, "height": height, "succeeded": succeeds(tx)}
            for height in heights
            for at, tx in enumerate(self.blocks[height])
        ]
        self.covered.update(heights)
        height = len(self.indexed)
        self._run(
            engine, _WRITE, source, height=height, block=json.dumps(rows),
            final=height - 1 - finality,
        )  # fmt: skip

    def _blocks(self, height):
        """The blocks that are covered, as Postgres writes a multirange."""
        ordered = sorted(self.covered)
        runs = groupby(enumerate(ordered), key=lambda each: each[1] - each[0])
        spans = [[height for _, height in run] for _, run in runs]
        return "{" + ",".join(f"[{s[0]},{s[-1] + 1})" for s in spans) + "}"


def succeeds(tx):
    """Whether a call succeeds: so says its hash."""
    return int(tx["hash"][:2], 16) % 4 != 0
