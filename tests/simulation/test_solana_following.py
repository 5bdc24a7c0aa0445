"""The follower of Solana clusters under seeded schedules of faults, forks and kills.

After each schedule the database is what a plain walk over the cluster's blocks says:
nothing lost, nothing doubled (`helpers.cluster_schedules`). `CHAINFOLD_TEST_SEED` and
`CHAINFOLD_TEST_FOLLOW_SOLANA` play others.
"""

import asyncio
import gc
import logging
import os

import pytest

from db.schema import migrate
from helpers import cluster_schedules, node_schedules, servers

RUNS = int(os.environ.get("CHAINFOLD_TEST_FOLLOW_SOLANA", "240"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def stage(postgres_url, monkeypatch):
    logging.disable(logging.CRITICAL)

    async def at_once(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    with servers.fresh_database(postgres_url) as url:
        with servers.engine_on(url) as engine:
            migrate(engine, cluster_schedules.REGISTRY)
        stage = node_schedules.Stage(url)
        gc.disable()
        yield stage
        gc.enable()
        stage.close()
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(CHUNKS))
def test_the_database_is_what_the_cluster_says(stage, part):
    failed = {}
    for seed in range(FIRST + part, FIRST + RUNS, CHUNKS):
        if found := cluster_schedules.run(stage, seed):
            failed[seed] = found
    gc.collect()
    assert failed == {}
