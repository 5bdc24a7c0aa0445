"""The write side under seeded schedules of everything that goes wrong.

Our own modules run on a real Postgres against a chain that loses, forgets and undoes;
several workers are interleaved between any two of their steps and dropped anywhere.
After each schedule: no command ran twice, none is told otherwise than the chain has it,
none is stuck, no nonce is left over (`helpers.schedules`).

`make simulate SEED=… RUNS=…` plays others; a seed that fails belongs into
`command_seeds.txt`.
"""

import gc
import logging
import os
from pathlib import Path

import pytest

from db.engine import connect
from helpers import schedules
from helpers.seeds import known_seeds

SEEDS_FILE = Path(__file__).with_name("command_seeds.txt")
RUNS = int(os.environ.get("CHAINFOLD_TEST_SCHEDULES", "4000"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 40


@pytest.fixture(scope="module")
def engine(postgres_url, migrated_template):
    from helpers import servers

    with servers.fresh_database(postgres_url, migrated_template) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


@pytest.fixture
def stage(engine):
    """A connection with the rows that every schedule starts from; nothing is kept."""
    logging.disable(logging.CRITICAL)  # alarms are what these schedules are made of
    stage = schedules.Stage(engine)
    stage.source = schedules.prepare(stage)
    gc.disable()  # nothing here is made in circles, and looking for them takes a tenth
    yield stage
    gc.enable()
    stage.close()
    logging.disable(logging.NOTSET)


def play(stage, seeds):
    failed = {}
    for seed in seeds:
        if found := schedules.run(stage, stage.source, seed):
            failed[seed] = found
    return failed


def chunk(number):
    """Every so many seeds, so that each chunk has schedules of every kind."""
    low = FIRST + RUNS * number // CHUNKS
    return range(low, FIRST + RUNS * (number + 1) // CHUNKS)


@pytest.mark.slow
def test_schedules_that_failed_once_do_so_no_more(stage):
    assert {} == play(stage, known_seeds(SEEDS_FILE))


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestLowerSeeds:
    """Half of the chunks: processes that share the work take whole classes."""

    @pytest.mark.parametrize("number", range(CHUNKS // 2))
    def test_no_command_runs_twice_lies_or_sticks(self, stage, number):
        assert {} == play(stage, chunk(number))


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestUpperSeeds:
    """The other half."""

    @pytest.mark.parametrize("number", range(CHUNKS // 2, CHUNKS))
    def test_no_command_runs_twice_lies_or_sticks(self, stage, number):
        assert {} == play(stage, chunk(number))
