"""The lanes of wallets under seeded schedules of what wallets do and what goes wrong.

Our own modules run on a real Postgres, as in `test_commands.py`; the wallet does as it
likes. After each schedule: nothing is told otherwise than the chain has it, what ran
after its end is told, nothing is stuck, nothing of ours ran twice
(`helpers.wallet_schedules`).

CHAINFOLD_TEST_WALLETS=… and CHAINFOLD_TEST_SEED=… play others; a seed that fails
belongs into `wallet_seeds.txt`.
"""

import gc
import logging
import os
from pathlib import Path

import pytest

import commands.wallets as lanes
from db.commands import watching
from db.engine import connect
from helpers import servers, wallet_chain, wallet_schedules

SEEDS_FILE = Path(__file__).with_name("wallet_seeds.txt")
RUNS = int(os.environ.get("CHAINFOLD_TEST_WALLETS", "2000"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def engine(postgres_url, migrated_template):
    with servers.fresh_database(postgres_url, migrated_template) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


@pytest.fixture
def stage(engine, monkeypatch):
    """A connection with the rows that every schedule starts from; nothing is kept."""
    logging.disable(logging.CRITICAL)
    monkeypatch.setattr(lanes, "read_raw", wallet_chain.read)
    monkeypatch.setattr(watching, "WATCHED_MOST", watching.WATCHED_MOST)
    stage = wallet_schedules.WalletStage(engine)
    stage.source = wallet_schedules.prepare(stage)
    gc.disable()
    yield stage
    gc.enable()
    stage.close()
    logging.disable(logging.NOTSET)


def play(stage, seeds):
    failed = {}
    for seed in seeds:
        if found := wallet_schedules.run(stage, stage.source, seed):
            failed[seed] = found
    return failed


def known_seeds():
    lines = SEEDS_FILE.read_text().splitlines()
    return [int(line) for line in lines if line and not line.startswith("#")]


def test_schedules_that_failed_once_do_so_no_more(stage):
    assert {} == play(stage, known_seeds())


@pytest.mark.parametrize("number", range(CHUNKS))
def test_no_wallet_s_command_lies_sticks_or_runs_twice(stage, number):
    low = FIRST + RUNS * number // CHUNKS
    assert {} == play(stage, range(low, FIRST + RUNS * (number + 1) // CHUNKS))
