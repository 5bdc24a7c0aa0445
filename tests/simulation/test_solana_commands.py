"""The Solana lane under seeded schedules of everything that goes wrong.

Our own modules run on a real Postgres against a cluster that loses bytes, replaces
confirmed slots and lets blockhashes run out; workers are dropped between any two steps.
After each schedule no command had its effect twice, none is told otherwise than the
cluster has it, and none is stuck. `CHAINFOLD_TEST_SEED` and `CHAINFOLD_TEST_SCHEDULES`
play others.
"""

import os

import pytest

from helpers import solana_schedules

RUNS = int(os.environ.get("CHAINFOLD_TEST_SCHEDULES", "480"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 8


@pytest.fixture
def stage(prepared_stage):
    return prepared_stage(solana_schedules.prepare)


@pytest.mark.parametrize("part", range(CHUNKS))
def test_every_command_happens_once_or_is_told_not_to_have(stage, part):
    failed = {}
    for seed in range(FIRST + part, FIRST + RUNS, CHUNKS):
        if found := solana_schedules.run(stage, stage.source, seed):
            failed[seed] = found
    assert failed == {}


def test_some_are_signed_anew_with_another_account(stage):
    """Else the schedules above say nothing of commands that change accounts."""
    assert any(
        solana_schedules.play(stage, stage.source, seed).switched()
        for seed in range(FIRST, FIRST + 60)
    )
