"""Workers that die, freeze or meet: faults 4 to 9, 15, 17 and 30 of the list."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from commands.errors import NodeAway
from commands.evm.work import work, work_once
from db.engine import connect
from helpers.counter import Counter


@pytest.fixture
def counter(migrated_engine):
    return Counter(migrated_engine)


def test_04_killed_between_nonce_and_signature(counter):
    counter.ask()
    counter.turn(until="taken")
    assert ([(0, 0, "")], []) == (counter.slots(), counter.attempts())

    counter.finish()

    assert [(0, 0, "succeeded")] == counter.slots()
    assert {0: 1} == counter.ran()


def test_05_killed_after_the_bytes_left(counter):
    counter.ask()
    counter.turn(until="sent")
    counter.wait(seconds=11)
    counter.turn()

    [attempt] = counter.attempts()
    assert ("already known", 1) == (attempt.answer, attempt.sent_count)
    counter.finish()
    assert ("succeeded", {0: 1}) == (counter.state(), counter.ran())


def test_05_killed_after_the_bytes_left_and_mined_before_anybody_looks(counter):
    counter.ask()
    counter.turn(until="sent")

    counter.block(6)

    assert ("succeeded", {0: 1}) == (counter.state(), counter.ran())


@pytest.mark.parametrize("mined", ["the first", "the replacement"])
def test_06_killed_between_saving_and_sending_a_replacement(counter, mined):
    counter.chain.base = 30
    counter.ask()
    counter.turn()
    counter.chain.base = 60
    counter.chain.mine()
    counter.index()
    counter.wait(seconds=31)
    counter.turn(until="recorded")
    first, replacement = counter.attempts()
    assert (1, 0) == (first.sent_count, replacement.sent_count)

    if mined == "the replacement":
        counter.wait(seconds=11)
        counter.turn()
    counter.chain.base = 1
    counter.finish()

    expected = first if mined == "the first" else replacement
    assert ("succeeded", {0: 1}) == (counter.state(), counter.ran())
    assert bytes(expected.hash) == counter.command(0).transaction


def test_07_taken_and_answered_by_a_timeout(migrated_engine):
    class Mute:
        """It takes the bytes, and its answer is lost."""

        def send(self, raw):
            counter.chain.take(raw)
            raise NodeAway("timed out")

        def __getattr__(self, name):
            return getattr(counter.chain, name)

    counter = Counter(migrated_engine, node=Mute())
    counter.ask(3)

    counter.finish()

    assert ["succeeded"] * 3 == counter.states()
    assert {0: 1, 1: 1, 2: 1} == counter.ran()
    assert [0, 1, 2] == [nonce for nonce, *_ in counter.slots()]


def test_08_swallowed_is_sent_again_within_one_sweep(counter):
    counter.ask()
    counter.turn()
    counter.chain.pool.clear()

    counter.turn()
    assert {} == counter.chain.pool
    counter.wait(seconds=10)
    counter.turn()

    assert [0] == list(counter.chain.pool)
    assert 2 == counter.attempts()[0].sent_count
    counter.finish()
    assert {0: 1} == counter.ran()


def test_09_the_node_forgets_a_hundred(migrated_engine):
    counter = Counter(migrated_engine, most=100)
    counter.ask(120)
    counter.turn()
    assert list(range(100)) == list(counter.chain.pool)
    counter.chain.pool.clear()

    counter.wait(seconds=10)
    counter.turn()

    assert list(range(100)) == list(counter.chain.pool)
    counter.block(46)
    assert dict.fromkeys(range(120), 1) == counter.ran()
    assert ["succeeded"] * 120 == counter.states()


@pytest.mark.parametrize("step", ["looked", "taken", "claimed", "signed", "recorded"])
def test_15_frozen_for_five_minutes_and_awake_again(counter, step):
    counter.chain.base = 30
    counter.ask(2)
    frozen = work(counter.context)
    while next(frozen) != step:
        pass
    counter.wait(minutes=5)
    counter.turn()
    counter.chain.base = 1
    counter.chain.mine()

    for _ in frozen:
        pass

    counter.finish()
    assert ["succeeded"] * 2 == counter.states()
    assert {0: 1, 1: 1} == counter.ran()
    assert [(0, 0, "succeeded"), (1, 1, "succeeded")] == counter.slots()


def test_17_postgres_cuts_every_connection_again_and_again(
    migrated_engine, migrated_url
):
    """Whether a commit that was cut off happened is read, never assumed."""
    rng, cuts = random.Random(4), 0
    counter = Counter(migrated_engine, most=8)
    counter.ask(12)
    pooled = connect(migrated_url)
    context = counter.seat(pooled)
    for _ in range(60):
        counter.wait(seconds=4)
        counter.chain.mine()
        counter.index()
        try:
            for _ in work(context):
                if rng.random() < 0.15:
                    cuts += 1
                    cut(migrated_engine)
        except DBAPIError:
            continue
    pooled.dispose()

    counter.finish()
    assert cuts > 20
    assert ["succeeded"] * 12 == counter.states()
    assert dict.fromkeys(range(12), 1) == counter.ran()
    assert list(range(12)) == [nonce for nonce, *_ in counter.slots()]


def cut(engine):
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_30_four_workers_at_once_do_as_one(migrated_engine, migrated_url):
    counter = Counter(migrated_engine, most=16)
    counter.ask(40)
    pooled = connect(migrated_url, pool_size=8)
    contexts = [counter.seat(pooled) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(40):
            list(pool.map(work_once, contexts))
            counter.wait(seconds=4)
            counter.chain.mine()
            counter.index()
    pooled.dispose()

    counter.finish()
    assert ["succeeded"] * 40 == counter.states()
    assert dict.fromkeys(range(40), 1) == counter.ran()
    assert list(range(40)) == [nonce for nonce, *_ in counter.slots()]
