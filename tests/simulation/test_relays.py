"""What is relayed on Solana under seeded schedules, and bugs that these must find.

After each schedule every command says what the cluster has of its transaction, none is
stuck, and the same bytes are one command of an account.
"""

import os
from dataclasses import replace

import pytest
from sqlalchemy import text

import commands.solana.past as past
import commands.solana.relay as lane
import db.commands.solana.resolve as resolve
import db.commands.solana.wallets as rows
from helpers import relay_schedules
from helpers.relay_schedules import MortalNode

RUNS = int(os.environ.get("CHAINFOLD_TEST_RELAYS", "240"))
FIRST = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))
CHUNKS = 4
SEEDS = 300  # that a planted bug may take


@pytest.fixture
def stage(prepared_stage):
    return prepared_stage(relay_schedules.prepare)


@pytest.mark.parametrize("part", range(CHUNKS))
def test_every_relayed_transaction_is_told_as_the_cluster_has_it(stage, part):
    failed = {}
    for seed in range(FIRST + part, FIRST + RUNS, CHUNKS):
        if found := relay_schedules.run(stage, stage.source, seed):
            failed[seed] = found
    assert failed == {}


def test_the_schedules_have_every_end_and_bytes_of_two_accounts(stage):
    """Else the schedules above say little."""
    ends, shared = set(), 0
    for seed in range(FIRST, FIRST + 60):
        world = relay_schedules.play(stage, stage.source, seed)
        shared += len({raw for _, raw in world.given}) < len(world.given)
        with stage.begin() as connection:
            states = connection.execute(text("SELECT state FROM control.command"))
            ends |= set(states.scalars())
    assert ends == {"succeeded", "reverted", "expired", "cancelled"}
    assert shared


def passed_at_once(original):
    """The index counts as past every slot, wherever it is."""
    return text(
        str(original).replace(
            "a.past_slot <= src.final AND EXISTS (", "true OR EXISTS ("
        )
    )


def always(value):
    return lambda original: lambda *_, **__: value


def past_at_once(original):
    """Every blockhash is past as soon as it is looked at."""

    def finalized(self):
        found = original(self)
        return replace(found, height=found.height + 10**6)

    return finalized


def of_the_signature(original):
    """What is told of an attempt is told of every command with its signature."""

    def set_state(connection, of, state):
        connection.execute(
            text(
                "UPDATE control.solana_attempt SET state = :state WHERE signature = :of"
            ),
            {"state": state, "of": of.signature},
        )

    return set_state


def confirmed_is_final(original):
    """A transaction that landed counts as final at once."""

    def look(row, now):
        found = original(row, now)
        return replace(found, final=found.landed is not None)

    return look


def failed_is_done(original):
    """A failed transaction counts as a success."""
    return lambda row, now: replace(original(row, now), error=None)


def always_new(original):
    """Nobody looks whether the bytes were given before."""
    return lambda connection, tenant, given: None


def head_not_final(original):
    """It is looked for from the head on, though it may be below it by now."""

    def first_slot(connection, source):
        return original(connection, source) + relay_schedules.FINALITY

    return first_slot


NOT_ASKED = [
    (resolve, "_OF_BOTH", passed_at_once), (resolve, "_OF_WALLETS", passed_at_once),
    (MortalNode, "cannot_land", always(True)),
]  # fmt: skip
BUGS = {
    "neither the index nor a node is asked": NOT_ASKED,
    "a blockhash is past at once, and may be valid": [
        (MortalNode, "finalized", past_at_once), (MortalNode, "valid", always(False)),
        (MortalNode, "too_old", always(False)),
    ],
    "what is told of one command is told of another's attempt": [
        (resolve, "set_attempt_state", of_the_signature),
        (rows, "set_attempt_state", of_the_signature),
    ],
    "confirmed is final": [(resolve, "_look", confirmed_is_final)],
    "a failed transaction is a success": [(resolve, "_look", failed_is_done)],
    "nothing is buried": [(past, "bury", always(False))],
    "the same bytes are two commands": [(lane, "relayed_before", always_new)],
    "it is looked for from the head on": [(lane, "_first_slot", head_not_final)],
    "what was called past too early stays so": [(past, "forget_past", always(None))],
}  # fmt: skip


def finds(stage, seed):
    """Whether a schedule shows it: by what does not hold, or by breaking off."""
    try:
        return bool(relay_schedules.run(stage, stage.source, seed))
    except Exception:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_schedules_find_a_planted_bug(stage, monkeypatch, bug):
    for place, name, plant in BUGS[bug]:
        monkeypatch.setattr(place, name, plant(getattr(place, name)))

    assert any(finds(stage, seed) for seed in range(SEEDS)), "no schedule found it"
