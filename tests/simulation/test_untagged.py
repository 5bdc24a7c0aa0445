"""The schedules of `test_commands.py` for calls that carry no id.

Two of the three commands ask for the very same. After each schedule a call ran no more
often than it was asked for, and as often as it is told that it did.
"""

import gc
import logging

import pytest

import db.commands.evm.reconcile as reconcile_module
import db.commands.evm.resolve as resolve_module
from db.engine import connect
from helpers import schedules, servers

RUNS, CHUNKS = 1200, 4


@pytest.fixture(scope="module")
def engine(postgres_url, migrated_template):
    with servers.fresh_database(postgres_url, migrated_template) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


@pytest.fixture
def stage(engine):
    logging.disable(logging.CRITICAL)
    stage = schedules.Stage(engine)
    stage.source = schedules.prepare(stage, tagged=False)
    gc.disable()
    yield stage
    gc.enable()
    stage.close()
    logging.disable(logging.NOTSET)


def play(stage, seed):
    return schedules.run(stage, stage.source, seed, tagged=False)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CHUNKS))
def test_no_call_runs_more_often_than_asked_for(stage, number):
    chunk = range(RUNS * number // CHUNKS, RUNS * (number + 1) // CHUNKS)

    assert {} == {seed: found for seed in chunk if (found := play(stage, seed))}


@pytest.mark.slow
def test_it_is_found_when_calls_are_not_recognised(stage, monkeypatch):
    for module in (reconcile_module, resolve_module):
        monkeypatch.setattr(module, "command_for", lambda *_: None)
    kinds = len(schedules.KINDS)
    restored = range(schedules.KINDS.index("restored"), RUNS, kinds)

    assert any(play(stage, seed) for seed in restored)
