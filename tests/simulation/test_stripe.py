"""A year of payments, a seed each: the journal is what Stripe's own objects say.

To the cent: every captured payment once, every balance transaction once with its
amounts, under lost, doubled, late and disordered webhooks, late events and fees, failed
requests, and readers that are killed between any two steps.

`make simulate-stripe SEED=… RUNS=…` plays others; a seed that fails belongs into
`stripe_seeds.txt`.
"""

import logging
import os
from collections import Counter
from pathlib import Path

import pytest

from db.engine import connect
from db.registry import Registry
from helpers import servers, stripe_year
from helpers.seeds import known_seeds

SEEDS_FILE = Path(__file__).with_name("stripe_seeds.txt")
RUNS = int(os.environ.get("CHAINFOLD_TEST_STRIPE", "20"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 4


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.fixture
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def play(postgres_url, migrated_template, registry, quiet):
    def run(seeds):
        failed, met = {}, Counter()
        for seed in seeds:
            with servers.fresh_database(postgres_url, migrated_template) as url:
                engine = connect(url)
                year = stripe_year.Year(engine, registry, seed)
                year.play()
                met += year.trouble + Counter(kills=year.killer.kills)
                if wrong := stripe_year.differences(year):
                    failed[seed] = wrong
                engine.dispose()
        return failed, met

    return run


@pytest.mark.slow
def test_seeds_that_failed_once_do_so_no_more(play):
    failed, _ = play(known_seeds(SEEDS_FILE))
    assert {} == failed


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(CHUNKS))
def test_the_journal_is_what_stripe_s_objects_say(play, number):
    seeds = range(
        FIRST + RUNS * number // CHUNKS, FIRST + RUNS * (number + 1) // CHUNKS
    )
    failed, met = play(seeds)

    assert {} == failed
    if len(seeds) >= 5:
        assert met["kills"] > 0
        assert met["away"] > 0
