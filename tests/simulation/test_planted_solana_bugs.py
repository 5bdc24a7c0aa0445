"""Bugs planted in the Solana lane: the schedules must find each."""

from dataclasses import replace

import pytest
from sqlalchemy import text

import commands.solana.past as past
import commands.solana.work as lane
import db.commands.solana.attempts as attempts
import db.commands.solana.resolve as resolve
from commands.solana.guard import GuardedSigner
from helpers import solana_schedules
from helpers.solana_schedules import NodeDouble

SEEDS = 400


def passed_at_once(original):
    """The index counts as past every slot, wherever it is."""
    return text(str(original).replace("a.past_slot <= src.final AND EXISTS (",
                                      "true OR EXISTS ("))  # fmt: skip


def nodes_know_nothing(original):
    """What nodes are asked for is never known to them."""
    return lambda self, signature, blockhash: True


def never_valid(original):
    """Whether a blockhash is valid is not asked for."""
    return lambda self, blockhash: False


def past_at_once(original):
    """Every blockhash is past as soon as it is looked at."""

    def finalized(self):
        found = original(self)
        return replace(found, height=found.height + 10**6)

    return finalized


def failed_is_done(original):
    """A failed transaction counts as a success."""
    return lambda row, now: replace(original(row, now), error=None)


def no_memory(original):
    """The signer forgets what it signed."""
    return lambda self, intent, settled: []


def memory_off(original):
    """The guard signs again whatever was signed before."""

    def sign(self, payload):
        return self.inner.sign(payload)

    return sign


def sent_before_stored(original):
    """Bytes leave before they are stored; a process may die between."""

    def signed(context, command):
        made = original(context, command)
        if not isinstance(made, str):
            context.node.cluster.take(made.raw)
        return made

    return signed


def another_beside(original):
    """A second attempt is stored beside one that is open."""

    def record(connection, command_id, made, now):
        connection.execute(
            text("UPDATE control.solana_attempt SET state = 'dead'"
                 " WHERE command = :id AND state = 'open'"), {"id": command_id},
        )  # fmt: skip
        return original(connection, command_id, made, now)

    return record


def never_past(original):
    """No blockhash is ever past."""
    return lambda connection, signature, slot: None


def never_undone(original):
    """What was called past is sent and looked for no more."""
    return lambda connection, signature: None


def not_again(original):
    """Nothing is signed anew."""
    return lambda connection, name: []


def confirmed_is_final(original):
    """A transaction that landed counts as final at once."""

    def look(row, now):
        found = original(row, now)
        return replace(found, final=found.landed is not None)

    return look


def undone_is_not_seen(original):
    """A slot that is undone changes nothing."""
    return lambda context, found: original(
        context, [look for look in found if look.landed is not None]
    )


def never_over(original):
    """What is to end goes on."""
    return lambda connection, command_id, now: False


def held_for_ever(original):
    """Nobody looks at what is held."""
    return lambda connection, name, now: []


NOT_ASKED = [
    (resolve, "_OF_ATTEMPT", passed_at_once), (resolve, "_OF_SIGNER", passed_at_once),
    (resolve, "_OF_BOTH", passed_at_once),
    (NodeDouble, "cannot_land", nodes_know_nothing),
]  # fmt: skip
BUGS = {
    "neither the index nor a node is asked": NOT_ASKED,
    "a blockhash is past at once, and may be valid": [
        (NodeDouble, "finalized", past_at_once), (NodeDouble, "valid", never_valid),
    ],
    "what was called past too early stays so": [(past, "forget_past", never_undone)],
    "a failed transaction is a success": [(resolve, "_look", failed_is_done)],
    "bytes leave unstored, and nobody remembers": [
        (lane, "_signed", sent_before_stored),
        (GuardedSigner, "recall", no_memory), (GuardedSigner, "sign", memory_off),
    ],
    "a second attempt beside an open one": [
        (lane, "record_attempt", another_beside), *NOT_ASKED,
    ],
    "no blockhash is ever past": [(past, "note_past", never_past)],
    "nothing is signed anew": [(lane, "to_sign_again", not_again)],
    "confirmed is final": [(resolve, "_look", confirmed_is_final)],
    "an undone slot is not seen": [(lane, "_settle", undone_is_not_seen)],
    "what is to end is signed anew": [(lane, "end_if_over", never_over)],
    "what is held is never looked at": [(lane, "due_held", held_for_ever)],
}  # fmt: skip


@pytest.fixture
def stage(prepared_stage):
    return prepared_stage(solana_schedules.prepare)


def finds(stage, seed):
    """Whether a schedule shows it: by what does not hold, or by breaking off."""
    try:
        return bool(solana_schedules.run(stage, stage.source, seed))
    except Exception:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_schedules_find_it(stage, monkeypatch, bug):
    for place, name, plant in BUGS[bug]:
        monkeypatch.setattr(place, name, plant(getattr(place, name)))

    found = any(finds(stage, seed) for seed in range(SEEDS))

    assert found, f"{SEEDS} schedules did not find it"


def test_the_planted_places_are_where_the_lane_looks():
    assert lane.record_attempt is attempts.record_attempt
    assert past.note_past is resolve.note_past
    assert past.forget_past is resolve.forget_past
