"""What holds a signer or a command: faults 16, 20 to 22 and 29 of the list.

Each has one reason and one remedy, and goes on by itself when the cause is gone.
"""

import queue
import random
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from commands.errors import NodeAway
from commands.evm.signing.guard import GuardedSigner, Rules
from commands.evm.work import work_once
from db.commands.accept import accept
from db.commands.errors import TooManyWaiting
from db.commands.evm.memory import SpendingLimits
from db.commands.evm.slots import register_signer
from db.commands.queue import Queues
from db.commands.states import Hold
from db.commands.stops import EVERYTHING, allow_signing, stop_signing
from db.listen import Listener
from helpers.counter import Counter, identity
from helpers.mempool import JsonSigner, MempoolChain
from helpers.schedules import ADDRESS, request


@pytest.fixture
def counter(migrated_engine):
    return Counter(migrated_engine)


def guarded(engine, clock, **rules):
    return GuardedSigner(
        engine, JsonSigner("s", ADDRESS), Rules(name="s", chain_id=1, **rules), clock
    )


def test_16_nothing_of_a_command_is_in_redis(migrated_engine, migrated_url):
    """Told or not told: who is not woken looks by himself."""
    counter, heard = Counter(migrated_engine), queue.Queue()
    listener = Listener(migrated_engine, "chainfold_command", heard.put).start()
    assert "" == heard.get(timeout=10)  # it listens
    counter.ask()
    assert heard.get(timeout=10).endswith(":accepted")
    listener.stop()

    counter.ask(first=1)
    counter.finish()

    assert ["succeeded"] * 2 == counter.states()


def test_20_out_of_funds_with_twenty_queued(counter):
    counter.chain.balance = False
    counter.ask(20)
    for _ in range(3):
        counter.wait(seconds=11)
        counter.turn()

    assert Hold.FUNDS is counter.row().hold
    assert "insufficient funds" in counter.blocker(19).reason
    assert "send money" in counter.blocker(19).remedy
    counter.ask(first=20)
    counter.turn()
    assert "accepted" == counter.state(20)  # no more nonces while there is no money

    counter.chain.balance = True
    counter.finish()

    assert ["succeeded"] * 21 == counter.states()
    assert Hold.NO is counter.row().hold
    order = [each["nonce"] for block in counter.chain.blocks for each in block]
    assert list(range(21)) == order


def other_context(counter):
    """A second signer beside the counter's, with a command of its own."""
    name, address = "t", b"\x77" * 20
    with counter.engine.begin() as connection:
        register_signer(
            connection, name=name, source_id=counter.source, address=address,
            next_nonce=0, gate_height=0,
        )  # fmt: skip
        connection.execute(
            text(
                "INSERT INTO control.coverage SELECT source, event, :own, blocks"
                " FROM control.coverage WHERE event = 'chain.transactions'"
            ),
            {"own": "0x" + address.hex()},
        )
        asked = replace(request(9, counter.source), signer=name)
        accept(connection, asked, counter.now, command_id=identity(9))
    chain = MempoolChain(random.Random(2), address)
    chain.faults = False
    return replace(counter.context, signer=JsonSigner(name, address), node=chain)


def test_21_a_slow_signer_holds_no_lock_and_no_other_signer(migrated_engine):
    asked, go = threading.Event(), threading.Event()

    class Slow(JsonSigner):
        def sign(self, payload):
            asked.set()
            assert go.wait(30)
            return JsonSigner.sign(self, payload)

    counter = Counter(migrated_engine, signer=Slow("s", ADDRESS))
    counter.ask(2)
    thread = threading.Thread(target=work_once, args=(counter.context,))
    thread.start()
    assert asked.wait(10)

    with migrated_engine.begin() as connection:
        for table in ("signer", "slot", "command"):
            connection.execute(text(f"SELECT 1 FROM control.{table} FOR UPDATE NOWAIT"))
    work_once(other_context(counter))
    assert "signed" == counter.state(9)
    counter.cancel(1)
    go.set()
    thread.join()

    counter.finish(rounds=8)
    assert ["succeeded", "cancelled"] == counter.states()[:2]


def test_21_a_dead_signer_strands_nothing(counter):
    counter.ask(3)
    counter.turn(until="taken")
    counter.signer.away = True
    for _ in range(3):
        counter.wait(seconds=11)
        counter.turn()
    assert Hold.SIGNER_UNAVAILABLE is counter.row().hold
    assert "sign serve" in counter.blocker().remedy
    assert [(0, 0, "")] == counter.slots()

    counter.signer.away = False
    counter.finish()

    assert ["succeeded"] * 3 == counter.states()
    assert Hold.NO is counter.row().hold


def test_22_the_pool_is_full(migrated_engine):
    class Full:
        """It has room for two transactions of an account."""

        def send(self, raw):
            answer = counter.chain.send(raw)
            if len(counter.chain.pool) > 2:
                counter.chain.pool.popitem()
                answer = type(answer)("maximum number of enqueued transactions reached")
            return answer

        def __getattr__(self, name):
            return getattr(counter.chain, name)

    counter = Counter(migrated_engine, node=Full())
    counter.ask(8)
    counter.turn()

    assert 2 == len(counter.chain.pool)
    assert Hold.POOL is counter.row().hold
    assert 3 == len(counter.slots())  # none is taken once there is no room
    counter.ask(first=8)
    counter.turn()
    assert "accepted" == counter.state(8)
    counter.finish()
    assert ["succeeded"] * 9 == counter.states()
    assert dict.fromkeys(range(9), 1) == counter.ran()


def test_29_ten_thousand_queued_are_few_in_flight(counter):
    with counter.engine.begin() as connection:
        accept(connection, request(0, counter.source), counter.now,
               command_id=identity(0))  # fmt: skip
        connection.execute(
            text(
                "CREATE TEMPORARY TABLE many AS SELECT c.* FROM control.command c,"
                " generate_series(1, 9999);"
                "ALTER TABLE many ADD COLUMN n serial;"
                "UPDATE many SET id = cast(lpad(to_hex(n + 1), 32, '0') AS uuid),"
                " idempotency_key = n;"
                "ALTER TABLE many DROP COLUMN n;"
                "INSERT INTO control.command SELECT * FROM many"
            )
        )
    counter.wait(minutes=10)
    counter.turn()

    health = counter.health()
    assert (64, 10_000 - 64) == (health.open_slots, health.waiting)
    assert 600 == health.oldest_waiting_seconds
    with (
        pytest.raises(TooManyWaiting),
        counter.engine.begin() as connection,
    ):
        Queues(most=9_000).enter(connection, "s")


def test_a_refused_command_waits_aside_and_goes_on_when_allowed(counter):
    counter.signer.refuses.add(request(0, counter.source).data)
    counter.ask(2)
    counter.turn()

    assert ["held", "signed"] == counter.states()
    assert "the signer refuses it" == counter.blocker(0).reason
    assert "command release" in counter.blocker(0).remedy
    assert [(0, 1, "")] == counter.slots()
    counter.signer.refuses.clear()
    counter.wait(seconds=61)
    counter.finish()
    assert ["succeeded"] * 2 == counter.states()
    assert {0: 1, 1: 1} == counter.ran()


def test_a_call_refused_after_its_nonce_gives_the_nonce_up(counter):
    counter.ask(2)
    counter.turn(until="taken")
    counter.signer.refuses.add(request(0, counter.source).data)
    counter.wait(seconds=1)
    counter.turn()
    assert "closing" == counter.state(0)
    for _ in range(8):
        counter.wait(seconds=11)
        counter.block()
    assert ["held", "succeeded"] == counter.states()

    counter.signer.refuses.clear()
    counter.wait(seconds=61)
    counter.finish()

    assert ["succeeded"] * 2 == counter.states()
    assert [(0, 0, "cancelled"), (1, 1, "succeeded"), (2, 0, "succeeded")] == (
        counter.slots()
    )


def test_a_held_command_is_cancelled_or_expires(counter):
    for number in (0, 1):
        counter.signer.refuses.add(request(number, counter.source).data)
    counter.ask()
    counter.ask(first=1, valid_until=counter.now + timedelta(seconds=30))
    counter.turn()
    assert ["held"] * 2 == counter.states()

    counter.cancel(0)
    counter.wait(seconds=61)
    counter.turn()

    assert ["cancelled", "expired"] == counter.states()


def test_the_kill_switch_costs_no_nonce(migrated_engine):
    signer = guarded(migrated_engine, lambda: counter.now)
    counter = Counter(migrated_engine, signer=signer)
    with migrated_engine.begin() as connection:
        stop_signing(connection, EVERYTHING, "why", counter.now)
    counter.ask(3)
    counter.turn()

    assert Hold.STOPPED is counter.row().hold
    assert "sign resume" in counter.blocker().remedy
    assert (["accepted"] * 3, []) == (counter.states(), counter.slots())
    with migrated_engine.begin() as connection:
        allow_signing(connection, EVERYTHING)
    counter.finish()
    assert ["succeeded"] * 3 == counter.states()
    assert Hold.NO is counter.row().hold


def test_the_gas_of_the_day_is_used_up_until_the_next_day(migrated_engine):
    signer = guarded(
        migrated_engine, lambda: counter.now, limits=SpendingLimits(gas_per_day=10**6)
    )
    counter = Counter(migrated_engine, signer=signer, gas_price_min=5)
    counter.ask(3)
    for _ in range(10):
        counter.wait(seconds=11)
        counter.block()
    assert Hold.BUDGET is counter.row().hold
    assert "gas_per_day" in counter.blocker(2).remedy
    assert ["succeeded", "succeeded", "accepted"] == counter.states()

    counter.wait(days=1)
    counter.finish()

    assert ["succeeded"] * 3 == counter.states()


def test_no_more_than_the_ceiling_is_paid(migrated_engine):
    counter = Counter(migrated_engine, gas_price_max=20)
    counter.chain.base = 50
    counter.ask(2)
    for _ in range(12):
        counter.wait(seconds=11)
        counter.block()
    assert Hold.CEILING is counter.row().hold
    assert "gas_price_max" in counter.blocker().remedy
    assert {20} == {int(each.gas_price) for each in counter.attempts()}

    counter.chain.base = 10
    counter.finish()

    assert ["succeeded"] * 2 == counter.states()
    assert Hold.NO is counter.row().hold


def test_a_node_that_is_away_changes_nothing(migrated_engine):
    class Away:
        away = True

        def __getattr__(self, name):
            if self.away:
                raise NodeAway("no answer")
            return getattr(counter.chain, name)

    node = Away()
    counter = Counter(migrated_engine, node=node)
    counter.ask(2)
    for _ in range(4):
        counter.wait(seconds=11)
        counter.turn()
    assert [] == counter.attempts()

    node.away = False
    counter.finish()

    assert {0: 1, 1: 1} == counter.ran()
