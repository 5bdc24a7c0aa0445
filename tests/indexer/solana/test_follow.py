"""A program on a real virtual machine, followed through everything that nodes do."""

from __future__ import annotations

import asyncio

import pytest

from helpers.solana_following import REGISTRY, catch_up, following, stored
from helpers.tables import problems

pytestmark = pytest.mark.chain


def follow(engine, node, **options):
    async def run():
        async with following(engine, [node.url], **options) as chain:
            return await catch_up(chain)

    return asyncio.run(run())


def check(engine, town):
    assert stored(engine) == town.truth()
    with engine.connect() as connection:
        assert problems(connection, REGISTRY) == []


def test_history_and_head_are_what_was_done(engine, node, town):
    for _ in range(20):
        town.act(times=town.chance.randrange(6))
        town.pass_slots(town.chance.randint(1, 4), skip=town.chance.choice([0, 0, 3]))
    town.pass_slots(3)

    follow(engine, node)

    facts, failed = town.truth()
    assert len(facts) > 20
    assert failed
    check(engine, town)
    for _ in range(5):
        town.act(times=3)
        town.pass_slots(2)
        follow(engine, node)
        check(engine, town)
