"""The schedules of `test_commands.py` for calls that carry no id.

Two of the three commands ask for the very same. After each schedule a call ran no more
often than it was asked for, and as often as it is told that it did.
"""

import gc
import logging

import pytest
from sqlalchemy import text

import db.commands.reconcile as reconcile_module
import db.commands.resolve as resolve_module
import db.commands.slots as slots_module
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


def nobody(original):
    """Calls are not recognised by what they do."""
    return lambda *_: None


def newest(original):
    """A transaction without a slot is nobody's while its command has another nonce."""

    def recognise(*arguments, **final):
        return original(*arguments, **final) or True

    return recognise


def unseen(original):
    """A nonce is taken although what waits may be what the index shows."""
    return text(str(original).replace("c.data = t.data", "false"))


BUGS = {
    "a call is not recognised": [
        (reconcile_module, "whose", nobody), (resolve_module, "whose", nobody),
    ],
    "a call is recognised too late": [(slots_module, "_FACTS", unseen)],
    "a call is forgotten while its command has a nonce": [
        (reconcile_module, "_recognise", newest),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(stage, monkeypatch, name):
    for target, attribute, plant in BUGS[name]:
        monkeypatch.setattr(target, attribute, plant(getattr(target, attribute)))
    kinds = len(schedules.KINDS)
    restored = range(schedules.KINDS.index("restored"), RUNS * kinds, kinds)

    needed, found = next(
        (
            (n, found)
            for n, seed in enumerate(restored, 1)
            if (found := play(stage, seed))
        ),
        (0, []),
    )

    print(f"\n{name}: {needed} schedules {found}")
    assert found
