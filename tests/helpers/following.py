"""Steps of the loop until nothing is missing, and tables held against the reference."""

from helpers import reference
from helpers.business import REGISTRY, facts_of
from helpers.tables import live_rows, problems
from indexer.errors import Retryable
from indexer.follow import CaughtUp, step


async def catch_up(chain, steps=200):
    """Step until nothing is missing; returns the outcomes, retrying what may be."""
    outcomes = []
    for _ in range(steps):
        try:
            outcomes.append(await step(chain))
        except Retryable:
            continue
        if isinstance(outcomes[-1], CaughtUp):
            return outcomes
    raise AssertionError(f"never caught up: {outcomes[-3:]}")


def check(engine, fake, source=1):
    """Every table is what the reference makes of the chain."""
    facts = facts_of(fake)
    with engine.connect() as connection:
        for projection in REGISTRY.projections.values():
            expected = reference.fold(projection, facts)
            assert live_rows(connection, projection, source) == expected
        assert problems(connection, REGISTRY) == []
