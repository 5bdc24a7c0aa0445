"""Stories: what a chain says, and the rows that come of it.

    chain = Chain()
    chain.emit(e.InvestmentMade, campaign=A, investor=B, amount=5)
    chain.mine()
    chain.emit(e.RefundIssued, campaign=A, investor=B, principal=5, paid=5)

    rows = index(chain)

    assert 0 == rows.of(Holding)[A, B]["invested"]

Fields that a story does not name have the zero of their type.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select

from db.blocks import Header
from db.declare import Event, Kind, Projection
from db.facts import Fact, columns_from_facts
from db.position import BlockRange, position
from db.registry import Registry
from db.sql.columns import state_table
from db.sql.verify import differences
from helpers import reference
from helpers.tables import live_rows, streams
from indexer.source import Batch
from indexer.writer import write_batch

GENESIS = 1_700_000_000  # the time of block 0; a block comes every two seconds


@dataclass
class Chain:
    """Blocks that hold what they are told; `mine` begins the next."""

    facts: list[Fact] = field(default_factory=list)
    times: list[int] = field(default_factory=lambda: [GENESIS])
    written: int = -1  # the last block that was indexed

    @property
    def height(self) -> int:
        """The height of the block that `emit` fills."""
        return len(self.times) - 1

    @property
    def now(self) -> int:
        """The time of that block."""
        return self.times[-1]

    def mine(self, time: int | None = None) -> int:
        """Begin the next block, at a time or two seconds later; returns its time."""
        assert time is None or time > self.now
        self.times.append(time or self.now + 2)
        return self.now

    def emit(self, event: type[Event], **values: Any) -> Fact:
        """Say something in this block."""
        assert self.height > self.written, "that block is indexed: mine the next"
        unknown = set(values) - set(event.spec.fields)
        assert not unknown, f"{event.spec.name} has no {', '.join(sorted(unknown))}"
        ordinal = sum(fact.position >> 32 == self.height for fact in self.facts)
        fact = Fact(
            event,
            position(self.height, ordinal),
            self.now,
            hashlib.sha256(f"{self.height}/{ordinal}".encode()).digest(),
            {
                name: declared.check(values.get(name, zero(declared)))
                for name, declared in event.spec.fields.items()
            },
        )
        self.facts.append(fact)
        return fact

    def batch(self, blocks: BlockRange) -> Batch:
        """What a source would read for a range."""
        facts = [f for f in self.facts if blocks.first <= f.position >> 32]
        facts = [f for f in facts if f.position >> 32 <= blocks.last]
        headers = [self.header(h) for h in range(blocks.first, blocks.last + 1)]
        return Batch(blocks, headers, columns_from_facts(facts))

    def header(self, height: int) -> Header:
        """The header of a block."""
        return Header(height, _hash(height), _hash(height - 1), self.times[height])


@dataclass(frozen=True)
class Rows:
    """The rows that were folded, and a look at those of any block."""

    engine: Engine
    source: int

    def of(self, projection: type[Projection]) -> dict[Any, dict[str, Any]]:
        """The rows by key; a single key stands for itself."""
        with self.engine.connect() as connection:
            found = live_rows(connection, projection, self.source)
        return {key[0] if len(key) == 1 else key: row for key, row in found.items()}

    def count(self, projection: type[Projection]) -> int:
        """How many rows there are, of all chains."""
        with self.engine.connect() as connection:
            return len(connection.execute(select(state_table(projection.spec))).all())


def write(engine: Engine, registry: Registry, source: int, chain: Chain) -> Rows:
    """Index the blocks since the last time, and check every row."""
    if chain.written < chain.height:
        blocks = BlockRange(chain.written + 1, chain.height)
        batch = chain.batch(blocks)
        write_batch(engine, registry, source, batch, streams(registry))
        chain.written = chain.height
    with engine.connect() as connection:
        for projection in registry.projections.values():
            expected = reference.fold(projection, chain.facts)
            assert expected == live_rows(connection, projection, source)
            found = differences(connection, projection.spec) if expected else ()
            assert [] == list(found)
    return Rows(engine, source)


def zero(declared: Any) -> Any:
    """The zero of a field's type."""
    zeros: dict[Kind, Any] = {
        Kind.BYTES: bytes(declared.size or 0),
        Kind.NUMERIC: 0,
        Kind.BIGINT: 0,
        Kind.BOOLEAN: False,
        Kind.TEXT: "",
        Kind.JSON: [],
    }
    return zeros[declared.kind]


def _hash(height: int) -> bytes:
    return hashlib.sha256(str(height).encode()).digest() if height >= 0 else bytes(32)
