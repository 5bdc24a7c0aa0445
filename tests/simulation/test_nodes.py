"""The follower over every kind of node, under seeded schedules of faults and lies.

After each schedule the database is what the model of the chain says, or the chain was
stopped for a reason that there was (`helpers.node_schedules`).

`make simulate-follow SEED=… RUNS=…` plays others; a seed that fails belongs into
`node_seeds.txt`.
"""

import gc
import os
from collections import Counter
from pathlib import Path

import pytest

from fakenode.faults import LAG, LIES, TRANSPORT
from helpers import node_schedules
from helpers.seeds import known_seeds

SEEDS_FILE = Path(__file__).with_name("node_seeds.txt")
RUNS = int(os.environ.get("CHAINFOLD_TEST_FOLLOW", "3000"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def play(stage, seeds):
    failed = {}
    for seed in seeds:
        if found := node_schedules.run(stage, seed):
            failed[seed] = found
    gc.collect()
    return failed


def chunk(number):
    low = FIRST + RUNS * number // CHUNKS
    return range(low, FIRST + RUNS * (number + 1) // CHUNKS)


def test_schedules_that_failed_once_do_so_no_more(node_stage):
    assert {} == play(node_stage, known_seeds(SEEDS_FILE))


class TestLowerSeeds:
    """Half of the chunks: processes that share the work take whole classes."""

    @pytest.mark.parametrize("number", range(CHUNKS // 2))
    def test_the_database_is_what_the_chain_says(self, node_stage, number):
        assert {} == play(node_stage, chunk(number))


class TestUpperSeeds:
    """The other half."""

    @pytest.mark.parametrize("number", range(CHUNKS // 2, CHUNKS))
    def test_the_database_is_what_the_chain_says(self, node_stage, number):
        assert {} == play(node_stage, chunk(number))


def test_every_profile_every_fault_and_every_lie_takes_part(node_stage, monkeypatch):
    seen, profiles = Counter(), Counter()

    class Watched(node_schedules.Schedule):
        async def close(self):
            await super().close()
            for node in self.nodes:
                seen.update(node.faulted)
                seen.update(f"limit of {limit}" for limit in node.refused)
            profiles[self.profile.name] += 1

    monkeypatch.setattr(node_schedules, "Schedule", Watched)
    play(node_stage, range(400))

    assert set(profiles) == set(node_schedules.NAMES)
    limits = {f"limit of {each}" for each in ("batch", "range", "results", "terms")}
    assert {*TRANSPORT, *LAG, *LIES} | limits <= set(seen)
