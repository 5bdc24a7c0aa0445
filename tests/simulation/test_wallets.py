"""The lanes of wallets under seeded schedules of what wallets do and what goes wrong.

Our own modules run on a real Postgres, as in `test_commands.py`; the wallet does as it
likes. After each schedule: nothing is told otherwise than the chain has it, what ran
after its end is told, nothing is stuck, nothing of ours ran twice
(`helpers.wallet_schedules`).

`make simulate-wallets SEED=… RUNS=…` plays others; a seed that fails belongs into
`wallet_seeds.txt`.
"""

import os
from pathlib import Path

import pytest

from helpers import wallet_schedules
from helpers.seeds import known_seeds

SEEDS_FILE = Path(__file__).with_name("wallet_seeds.txt")
RUNS = int(os.environ.get("CHAINFOLD_TEST_WALLETS", "1500"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def play(stage, seeds):
    failed = {}
    for seed in seeds:
        if found := wallet_schedules.run(stage, stage.source, seed):
            failed[seed] = found
    return failed


def test_schedules_that_failed_once_do_so_no_more(wallet_stage):
    assert {} == play(wallet_stage, known_seeds(SEEDS_FILE))


@pytest.mark.parametrize("number", range(CHUNKS))
def test_no_wallet_s_command_lies_sticks_or_runs_twice(wallet_stage, number):
    low = FIRST + RUNS * number // CHUNKS
    seeds = range(low, FIRST + RUNS * (number + 1) // CHUNKS)
    assert {} == play(wallet_stage, seeds)
