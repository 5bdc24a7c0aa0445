"""Random histories of the ledger, as a chain of blocks that can fork."""

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings

from db.blocks import Header
from db.facts import Fact, columns_from_facts
from db.position import BlockRange, position
from helpers import ledger
from indexer.source import Batch

ADDRESSES = [bytes([n]) * 20 for n in range(1, 6)]


@dataclass
class History:
    """Blocks 0..height, each with its facts; `fork` replaces the top."""

    seed: int
    facts: dict[int, list[Fact]] = field(default_factory=dict)
    salts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int, blocks: int) -> "History":
        """A history of this many blocks above block 0."""
        history = cls(seed)
        history.salts.append(0)
        history.grow(blocks, random.Random(seed))
        return history

    @property
    def height(self) -> int:
        return len(self.salts) - 1

    def grow(self, blocks: int, rng: random.Random) -> None:
        """Add blocks with a few facts each."""
        for _ in range(blocks):
            self.salts.append(rng.randrange(1 << 30))
            height = self.height
            ordinals = sorted(rng.sample(range(12), rng.randrange(0, 6)))
            self.facts[height] = [_fact(rng, height, each) for each in ordinals]

    def fork(self, depth: int, blocks: int, rng: random.Random) -> int:
        """Replace the top blocks; returns the first height that changed."""
        keep = self.height - depth
        for height in range(keep + 1, self.height + 1):
            self.facts.pop(height, None)
        del self.salts[keep + 1 :]
        self.grow(blocks, rng)
        return keep + 1

    def header(self, height: int) -> Header:
        """The header, its hash chained over everything below."""
        return Header(
            height, self.hash(height), self.hash(height - 1), 1_700_000_000 + height * 2
        )

    def hash(self, height: int) -> bytes:
        """A hash that depends on every block below."""
        if height < 0:
            return bytes(32)
        content = repr(self.salts[: height + 1]).encode()
        return hashlib.sha256(content).digest()

    def all_facts(self) -> list[Fact]:
        """Every fact, in order."""
        return [fact for height in sorted(self.facts) for fact in self.facts[height]]

    def batch(
        self, blocks: BlockRange, keep: Callable[[Fact], bool] = lambda fact: True
    ) -> Batch:
        """What a source would read for a range; `keep` is its filter."""
        heights = range(blocks.first, blocks.last + 1)
        facts = [
            fact
            for height in heights
            for fact in self.facts.get(height, [])
            if keep(fact)
        ]
        headers = [self.header(height) for height in heights]
        return Batch(blocks, headers, columns_from_facts(facts))


def rounds(max_examples: int) -> settings:
    """How often a property is tried; CHAINFOLD_TEST_EXAMPLES multiplies it."""
    times = float(os.environ.get("CHAINFOLD_TEST_EXAMPLES", "1"))
    return settings(
        max_examples=max(1, round(max_examples * times)),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        print_blob=True,
    )


def cut(
    history: History, rng: random.Random, *, overlap: bool, pieces: int = 6
) -> list[BlockRange]:
    """The blocks of a history as ranges in random order, some twice, overlapping."""
    count = min(pieces, history.height)
    edges = sorted(rng.sample(range(1, history.height + 1), count))
    firsts = [0, *edges]
    ranges = [
        BlockRange(first, last - 1)
        for first, last in zip(firsts, [*edges, history.height + 1], strict=True)
    ]
    if overlap:
        for _ in range(3):
            first = rng.randint(0, history.height)
            ranges.append(BlockRange(first, rng.randint(first, history.height)))
    rng.shuffle(ranges)
    return ranges


def _fact(rng: random.Random, height: int, ordinal: int) -> Fact:
    event = rng.choice([*ledger.EVENTS, ledger.Paid, ledger.Transfer])
    amount = rng.choice([0, 1, 7, 50, 99, 10**18, 2**256 - 1])
    pick = lambda: rng.choice(ADDRESSES)  # noqa: E731
    values = {
        "Opened": lambda: {
            "deal": pick(),
            "goal": amount,
            "title": rng.choice(["", "Blue bakery", "ብርሃን", "o'Neil \\ %s\t\n"]),
        },
        "Paid": lambda: {
            "deal": pick(),
            "payer": pick(),
            "amount": amount,
            "kind": rng.randrange(256),
        },
        "Refunded": lambda: {"deal": pick(), "payer": pick(), "paid": amount},
        "Closed": lambda: {"deal": pick(), "good": rng.random() < 0.5},
        "Transfer": lambda: {
            "sender": pick(),
            "recipient": pick(),
            "value": amount,
        },
    }[event.spec.name]()
    transaction = hashlib.sha256(f"{height}/{ordinal}".encode()).digest()
    return Fact(
        event,
        position(height, ordinal),
        1_700_000_000 + height * 2,
        transaction,
        values,
    )
