"""Stories: what a chain says, and the rows that come of it.

    chain = StoryChain()
    chain.emit(e.InvestmentMade, campaign=A, investor=B, amount=5)
    chain.mine()
    chain.emit(e.RefundIssued, campaign=A, investor=B, principal=5, paid=5)

    rows = index(chain)

    assert 0 == rows.of(Holding)[A, B]["invested"]

Fields that a story does not name have the zero of their type.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from db.declare import Projection
from db.position import BlockRange
from db.registry import Registry
from db.sql.columns import state_table
from db.sql.verify import differences
from helpers import reference
from helpers.tables import live_rows, streams
from indexer.writer import write_batch
from ops.stories import StoryChain


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


def write(engine: Engine, registry: Registry, source: int, chain: StoryChain) -> Rows:
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
