"""One wrong count of transactions, or one signature, moves no nonce far away."""

import pytest
from sqlalchemy import text

from commands.errors import SigningHeld, SigningRefused
from commands.evm.signers import Payload
from commands.evm.signing.guard import GuardedSigner, Rules
from commands.evm.starting import begin
from db.commands.evm.holding import resume_signer
from db.commands.evm.memory import (
    SpendingLimits,
    sign_from,
)
from db.commands.signers import pause
from db.commands.states import Hold
from db.engine import connect
from helpers.counter import Counter
from helpers.mempool import JsonSigner, MempoolChain
from helpers.schedules import ADDRESS


class Counting(MempoolChain):
    """Nodes that count the account's transactions as a test says."""

    said = None

    def counts(self, address):
        return self.said or {"node": self.consumed()}

    def nonce(self, address, height=None):
        return next(iter(self.counts(address).values()))

    def head(self):
        return len(self.blocks) - 1


@pytest.fixture
def counter(migrated_engine):
    found = Counter(migrated_engine, most=8)
    found.chain.__class__ = Counting
    found.ask(3)
    found.finish()
    assert ["succeeded"] * 3 == found.states()
    return found


def start(counter):
    with counter.engine.connect() as connection:
        source = connection.scalar(text("SELECT source FROM control.signer"))
    return begin(
        counter.engine, counter.signer, counter.chain, source=source, max_in_flight=8
    )


def resume(counter):
    with counter.engine.begin() as connection:
        resume_signer(connection, "s", counter.now)


def fillers(counter, where=""):
    return counter.scalar(
        f"SELECT count(*) FROM control.slot WHERE command IS NULL {where}"
    )


def test_a_count_far_beyond_the_index_halts_the_signer_and_asks(counter):
    counter.chain.said = {"a:1": 100_000}
    start(counter)
    counter.ask(first=3)
    counter.finish(rounds=3)

    row = counter.row()
    assert row.paused
    assert 3 == row.next_nonce
    assert "a:1: 100000" in row.reason
    assert "the 3 that are known here" in row.reason
    assert 0 == fillers(counter)

    resume(counter)
    counter.finish()
    assert ["succeeded"] * 4 == counter.states()
    assert 4 == counter.row().next_nonce


def test_another_node_knows_better(counter):
    counter.chain.said = {"a:1": 100_000, "b:2": 3}
    start(counter)
    counter.ask(first=3)
    counter.finish()

    assert not counter.row().paused
    assert 4 == counter.row().next_nonce
    assert ["succeeded"] * 4 == counter.states()


def test_a_far_count_at_the_very_first_start_is_found_when_the_index_knows(
    migrated_engine,
):
    counter = Counter(migrated_engine)
    with migrated_engine.begin() as connection:
        connection.execute(text("DELETE FROM control.signer"))
    counter.chain.__class__ = Counting
    counter.chain.said = {"a:1": 100_000}
    begin(
        counter.engine, counter.signer, counter.chain, source=counter.source,
        max_in_flight=8,
    )  # fmt: skip
    counter.ask(2)
    counter.block(3)

    assert counter.row().paused
    assert "a node counted 100000 as the next nonce" in counter.row().reason
    assert [] == counter.slots()

    resume(counter)
    counter.finish()
    assert ["succeeded"] * 2 == counter.states()
    assert [0, 1] == [nonce for nonce, *_ in counter.slots()]


def test_a_far_memory_of_the_signing_side_halts_the_signer(counter):
    counter.signer.memory[10**9] = b""
    start(counter)

    assert counter.row().paused
    assert "nonce 1000000000 of 0x" in counter.row().reason
    assert 3 == counter.row().next_nonce


def test_fillers_obey_room(counter):
    counter.chain.said = {"a:1": 200}
    start(counter)
    for _ in range(4):
        counter.turn()
        assert fillers(counter, "AND open") <= 8
    assert 8 == fillers(counter, "AND open")

    for _ in range(120):
        counter.wait(seconds=11)
        counter.block()
        assert fillers(counter, "AND open") <= 8
    counter.ask(first=3)
    counter.finish()
    assert ["succeeded"] * 4 == counter.states()
    assert 197 == fillers(counter)


def test_a_halted_signer_fills_nothing(counter):
    counter.chain.said = {"a:1": 200}
    with counter.engine.begin() as connection:
        pause(connection, "s", paused=True, reason="by hand")
    start(counter)
    counter.block(5)

    assert 0 == fillers(counter)


def test_fillers_obey_the_gas_of_the_day(migrated_engine):
    limits = SpendingLimits(gas_per_day=21_000 * 40)
    counter = Counter(
        migrated_engine, most=8,
        signer=GuardedSigner(
            migrated_engine, JsonSigner("s", ADDRESS),
            Rules(name="s", chain_id=1, limits=limits), lambda: counter.now,
        ),
    )  # fmt: skip
    counter.chain.__class__ = Counting
    counter.chain.said = {"a:1": 200}
    start(counter)
    for _ in range(30):
        counter.wait(seconds=11)
        counter.block()

    assert Hold.BUDGET is counter.row().hold
    spent = counter.scalar("SELECT sum(gas_cost) FROM control.signing_day")
    assert 0 < spent <= 21_000 * 40


def test_a_next_nonce_a_billion_away_is_looked_at_at_once(counter):
    """Not one by one: that ran for minutes, and spilled gigabytes."""
    impatient = connect(
        counter.engine.url.set(query={"options": "-c statement_timeout=20000"})
    )
    with counter.engine.begin() as connection:
        connection.execute(text("UPDATE control.signer SET next_nonce = 10 ^ 9"))
    counter.ask(first=3)

    counter.turn(counter.seat(impatient))

    impatient.dispose()
    assert counter.row().paused
    assert 0 == fillers(counter)


# what the guard of a key signs ----------------------------------------------------


@pytest.fixture
def guard(migrated_engine):
    rules = Rules(name="s", chain_id=1)
    counter = Counter(migrated_engine)
    return GuardedSigner(
        migrated_engine, JsonSigner("s", ADDRESS), rules, lambda: counter.now
    )


def transfer(nonce):
    return Payload(
        chain_id=1, nonce=nonce, gas_price=1, gas=21_000, to=ADDRESS, value=0, data=b""
    )


def test_a_nonce_far_from_the_last_is_not_signed(guard):
    guard.sign(transfer(5000))  # nothing was known of it
    guard.sign(transfer(5256))
    for nonce in (10**9, 5256 + 257):
        with pytest.raises(SigningHeld, match="--nonce") as caught:
            guard.sign(transfer(nonce))
        assert Hold.FAR is caught.value.hold

    assert 5257 == guard.floor()
    guard.sign(transfer(3))


def test_what_the_index_has_seen_is_near(guard):
    with guard.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO control.sender_transaction (source, position, block_time,"
                " hash, sender, recipient, nonce, value, data, succeeded, gas_used)"
                " SELECT id, 1, 0, 'a', :sender, 'b', 9, 0, '', true, 1"
                " FROM control.source WHERE name = 'sim'"
            ),
            {"sender": ADDRESS},
        )
    with pytest.raises(SigningHeld):
        guard.sign(transfer(10**9))

    guard.sign(transfer(9 + 256))


def test_a_person_may_say_that_it_is_so(guard):
    guard.sign(transfer(5))
    with pytest.raises(SigningHeld):
        guard.sign(transfer(1000))

    with guard.engine.begin() as connection:
        sign_from(connection, 1, ADDRESS, 1000)

    guard.sign(transfer(1000))
    guard.sign(transfer(1001))


@pytest.mark.parametrize("nonce", [1 << 63, 1 << 64, 1 << 255])
def test_what_is_no_nonce_is_refused(guard, nonce):
    with pytest.raises(SigningRefused, match="is no nonce"):
        guard.sign(transfer(nonce))


# what a day's gas is spent on -----------------------------------------------------


def with_gas(counter, *limits):
    """Ask for commands with these gas limits, in this order."""
    for number, limit in enumerate(limits):
        counter.ask(first=number)
        with counter.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE control.command SET gas_limit = :limit"
                    " WHERE idempotency_key = :key"
                ),
                {"limit": limit, "key": str(number)},
            )


class Exact(MempoolChain):
    """A node that suggests one price and estimates nothing over what was taken."""

    def gas_price(self):
        return 1


@pytest.fixture
def budgeted(migrated_engine):
    signer = GuardedSigner(
        migrated_engine, JsonSigner("s", ADDRESS),
        Rules(name="s", chain_id=1, limits=SpendingLimits(gas_per_day=200_000)),
        lambda: counter.now,
    )  # fmt: skip
    counter = Counter(migrated_engine, signer=signer)
    counter.chain.__class__ = Exact
    return counter


def test_a_call_over_what_is_left_of_the_day_stops_no_smaller_ones(budgeted):
    with_gas(budgeted, 100_000, 150_000, 60_000)
    budgeted.finish(rounds=8)

    assert ["succeeded", "held", "succeeded"] == budgeted.states()
    told = budgeted.blocker(1).reason
    assert "what is left of the day's gas" in told
    assert "150000 wei" in told
    assert Hold.NO is budgeted.row().hold

    budgeted.wait(days=1)
    budgeted.finish()
    assert ["succeeded"] * 3 == budgeted.states()


def test_a_call_over_the_whole_budget_is_not_told_to_wait(budgeted):
    with_gas(budgeted, 250_000, 60_000)
    budgeted.finish(rounds=8)

    assert ["held", "succeeded"] == budgeted.states()
    told = budgeted.blocker(0).reason
    assert "250000 wei" in told
    assert "at most 200000 in a day" in told
    assert "wait" not in told


def test_when_the_gas_is_enough_for_none_the_signer_waits(budgeted):
    with_gas(budgeted, 100_000, 60_000, 50_000, 45_000)
    budgeted.finish(rounds=8)

    assert ["succeeded"] * 2 + ["accepted"] * 2 == budgeted.states()
    assert Hold.BUDGET is budgeted.row().hold
