"""Which wallets are watched: who is waited for first, then who ended last."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db import sources
from db.commands import watching
from db.commands.accept import Request, accept
from db.commands.evm.closing import cancel
from db.commands.watching import watch_no_more, watched

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def place(migrated_engine):
    with migrated_engine.begin() as connection:
        row = sources.register(
            connection, name="sim", chain_id="eip155:1", ordinals="rank"
        )
        yield connection, row.id


def ask(place, number, at=0, *, wallet=None, kind="Test", seen_from=None):
    connection, source = place
    command_id = uuid.UUID(int=number)
    request = Request(
        tenant="t", idempotency_key=str(number), kind=kind, arguments={},
        source=source, sender=bytes([wallet or number]) * 20, gas_limit=1,
    )  # fmt: skip
    now = NOW + timedelta(seconds=at)
    accept(connection, request, now, command_id=command_id)
    if seen_from is not None:
        connection.execute(
            text("UPDATE control.command SET seen_from = :n WHERE id = :id"),
            {"n": seen_from, "id": command_id},
        )
    return command_id


def end(place, command, at):
    cancel(place[0], command, NOW + timedelta(seconds=at))


def numbers(place):
    return {wallet[0]: first for wallet, first in watched(*place).items()}


def test_those_that_are_waited_for_come_before_those_that_ended(place, monkeypatch):
    for number in range(1, 5):
        end(place, ask(place, number), number)
    for number in (6, 5):
        ask(place, number, at=10 - number)
    monkeypatch.setattr(watching, "WATCHED_MOST", 4)
    both = {*numbers(place)}
    monkeypatch.setattr(watching, "WATCHED_MOST", 2)
    waiting = {*numbers(place)}
    monkeypatch.setattr(watching, "WATCHED_MOST", 1)

    assert {5, 6, 4, 3} == both
    assert {5, 6} == waiting
    assert {6} == {*numbers(place)}


def test_a_wallet_is_read_from_the_first_block_of_all_that_may_come(place):
    end(place, ask(place, 1, wallet=9, seen_from=40), 1)
    end(place, ask(place, 2, wallet=9, seen_from=60), 2)
    ask(place, 3, wallet=9, seen_from=80)
    first = numbers(place)
    watch_no_more(*place, NOW + timedelta(seconds=3))

    assert {9: 40} == first
    assert {9: 80} == numbers(place)


def test_what_was_only_relayed_is_over_when_it_has_ended(place):
    end(place, ask(place, 1, kind="relay"), 1)

    assert {} == numbers(place)


def test_a_hundred_thousand_wallets_that_ended_cost_next_to_nothing(place):
    connection, source = place
    connection.execute(
        text(
            "INSERT INTO control.wallet_watch SELECT :source,"
            " decode(lpad(to_hex(n), 40, '0'), 'hex'), n, :now - n * interval '1 s'"
            " FROM generate_series(1, 100000) n"
        ),
        {"source": source, "now": NOW},
    )
    connection.execute(text("ANALYZE control.wallet_watch"))
    watched(*place)
    began = time.monotonic()
    found = watched(*place)
    took = time.monotonic() - began

    assert watching.AFTERWARDS_MOST == len(found)
    assert {*range(1, 1001)} == set(found.values())  # those that ended last
    assert took < 0.5  # about 5 ms on a machine with nothing else to do
