"""Bugs planted in the lanes of wallets: the schedules must find each.

A green run of `test_wallets.py` proves as much as this does. Printed with `-s`: how
many schedules each bug needed.
"""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import commands.evm.wallets as lanes
import db.commands.evm.wallets as rows
from db.commands import watching
from db.commands.accept import find, lock, move
from db.commands.errors import NonceConflict
from db.commands.states import IllegalMove, State
from helpers import wallet_schedules

ENOUGH = 1500  # schedules that a bug may take

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def early(depth):
    """Final some blocks before it is."""

    def plant(original):
        def settle(connection, command_id, *, final, now, **more):
            later = final + depth
            return original(connection, command_id, final=later, now=now, **more)

        return settle

    return plant


def early_transactions(original):
    """Transactions are looked at once, though their blocks are not final."""
    return lambda connection, source, final: original(connection, source, final + 99)


def early_loss(original):
    """A nonce is lost when a block has something else with it, final or not."""
    return lambda connection, command, final: original(connection, command, final + 99)


def second_nonce(original):
    """What was signed is taken, whatever was signed before."""

    def store(connection, command_id, *, raw, hash_, nonce, now):
        given = {"raw": raw, "hash_": hash_, "nonce": nonce, "now": now}
        try:
            return original(connection, command_id, **given)
        except NonceConflict:
            connection.execute(
                text(
                    "INSERT INTO control.relay (hash, command, nonce, raw, relayed_at)"
                    " VALUES (:hash_, :id, :nonce, :raw, :now) ON CONFLICT DO NOTHING"
                ),
                given | {"id": command_id},
            )
            return find(connection, command_id)

    return store


def apart(original):
    """A command and the bytes that it stands for are stored one after the other."""

    def keep(command_service, lane, connection, row, signed):
        command_service.engine.between()
        return original(command_service, lane, connection, row, signed)

    return keep


def cancelled_though_signed(original):
    """What is signed is cancelled because that is asked for."""

    def cancel(connection, command_id, now):
        row = lock(connection, command_id)
        if row.state is State.SIGNED:
            return move(connection, row, State.CANCELLED, now)
        return original(connection, command_id, now)

    return cancel


def expired_though_signed(original):
    """What is signed is expired when its time is over."""

    def check(connection, row, final, now):
        if row.valid_until <= now:
            return move(connection, row, State.EXPIRED, now)
        return original(connection, row, final, now)

    return check


def read_too_late(original):
    """A wallet is read from the head on, and not from the last final block."""

    def accept(connection, request, now, *, command_id):
        taken = original(connection, request, now, command_id=command_id)
        connection.execute(
            text(
                "UPDATE control.command c SET seen_from = coalesce(s.head, 0) + 1"
                " FROM control.source s WHERE s.id = c.source AND c.id = :id"
            ),
            {"id": command_id},
        )
        return taken

    return accept


def rewritten(old, new):
    """A statement with something else in it."""

    def plant(original):
        assert old in str(original)
        return text(str(original).replace(old, new))

    return plant


def nothing(original):
    return lambda *_, **__: None


def none(original):
    return lambda *_, **__: []


def unchanged(original):
    return lambda connection, row, *_, **__: row


BUGS = {
    "told before it is final": [(lanes, "settle_wallet_command", early(99))],
    "told one block before": [(lanes, "settle_wallet_command", early(1))],
    "an undone block stays": [(rows, "_undone", unchanged)],
    "not watched after its end": [(watching, "AFTERWARDS_MOST", lambda _: 0)],
    "watched for ever": [(lanes, "watch_no_more", nothing)],
    "what ran late is not told": [(rows, "_note_late_outcome", unchanged)],
    "looked at before it is final": [(lanes, "unprocessed", early_transactions)],
    "a call that failed hides one that did not": [
        (rows, "_LATE", rewritten("t.succeeded DESC, ", "")),
    ],
    "a second nonce is taken": [(lanes, "store_relay", second_nonce)],
    "a nonce that was seen is forgotten": [(rows, "_remember", nothing)],
    "lost before it is final": [(rows, "signed_nonces", early_loss)],
    "a nonce of before is waited for": [
        (rows, "_NONCES", rewritten("s.nonce < p.nonce", "false")),
    ],
    "blocks that nobody read say nothing": [
        (rows, "_NONCES", rewritten("v.blocks @> int", "true OR v.blocks @> int")),
    ],
    "read from the head on": [(wallet_schedules, "accept", read_too_late)],
    "sent once and forgotten": [(lanes, "to_relay_again", none)],
    "stored before its bytes": [(lanes, "_keep", apart)],
    "the same bytes under another key": [(lanes, "relayed_before", nothing)],
    "what is relayed is known by its looks": [
        (rows, "_FOUND", rewritten("OR t.nonce IN", "OR true OR t.nonce IN")),
    ],
    "cancelled though signed": [(wallet_schedules, "cancel", cancelled_though_signed)],
    "expired though signed": [(rows, "_check_lost", expired_though_signed)],
}  # fmt: skip


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(wallet_stage, monkeypatch, name):
    for target, attribute, plant in BUGS[name]:
        monkeypatch.setattr(target, attribute, plant(getattr(target, attribute)))

    for seed in range(ENOUGH):
        try:
            found = wallet_schedules.run(wallet_stage, wallet_stage.source, seed)
        except (IllegalMove, DBAPIError) as error:
            found = [type(error).__name__]
        if found:
            print(f"\n{name}: {seed + 1} schedules ({found[0]})")
            return
    raise AssertionError(f"{ENOUGH} schedules did not show it")
