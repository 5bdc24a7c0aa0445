"""Calls without an id: whose a transaction is, that no nonce of ours accounts for."""

import hashlib

import pytest
from sqlalchemy import text

from db.commands.evm.holding import resume_signer
from db.commands.evm.slots import take_slot
from helpers.counter import Counter
from helpers.mempool import FINAL_DEPTH
from helpers.schedules import request


@pytest.fixture
def counter(migrated_engine):
    """Commands 0 and 1 ask for the same, command 2 for something else."""
    return Counter(migrated_engine, tagged=False)


def done(counter, number, *, nonce=0):
    """The chain shows what a command asks for; the database has no memory of it."""
    asked = request(number, counter.source, tagged=False)
    counter.chain.pool[nonce] = {
        "nonce": nonce, "price": 99, "to": asked.target.hex(), "value": 0,
        "data": asked.data.hex(), "hash": hashlib.sha256(b"%d" % nonce).hexdigest(),
    }  # fmt: skip


def ran(counter):
    return [
        transaction["data"][:2]
        for block in counter.chain.blocks
        for transaction in block
    ]


def mined(counter, blocks=1):
    for _ in range(blocks):
        counter.chain.mine()
    counter.index()


def test_what_ran_before_a_backup_was_restored_does_not_run_again(counter):
    counter.ask(3)
    done(counter, 2)
    mined(counter)
    counter.finish()

    assert ["succeeded"] * 3 == counter.states()
    assert (0, 2, "succeeded") in counter.slots()
    assert ["03", "02", "02"] == ran(counter)


def test_of_equal_commands_the_oldest_gets_it(counter):
    counter.ask(2)
    done(counter, 1)
    mined(counter)
    counter.turn()
    counter.turn()

    assert "included" == counter.state(0)
    counter.finish()
    assert [(0, 0, "succeeded"), (1, 1, "succeeded")] == counter.slots()
    assert ["02", "02"] == ran(counter)


def test_what_was_final_when_it_was_asked_for_was_not_for_it(counter):
    done(counter, 0)
    mined(counter, FINAL_DEPTH + 1)
    counter.ask(1)
    counter.finish()

    assert ["02", "02"] == ran(counter)
    assert [(1, 0, "succeeded")] == counter.slots()


def test_no_nonce_is_taken_while_what_waits_may_be_done(counter):
    counter.ask(1)
    done(counter, 0)
    mined(counter)
    with counter.engine.begin() as connection:
        connection.execute(text("UPDATE control.signer SET next_nonce = 1"))
        assert take_slot(connection, "s", counter.now) is None
    counter.finish()

    assert [(0, 0, "succeeded")] == counter.slots()


def test_it_waits_for_a_command_that_may_have_lost_its_nonce(counter):
    """What ran at the next nonce is known to be the command's when its own is lost."""
    counter.ask(1)
    counter.turn()
    counter.chain.outside()
    done(counter, 0, nonce=1)
    mined(counter)
    counter.turn()
    assert "signed" == counter.state()
    counter.finish()

    assert [(0, 0, "lost"), (1, 0, "succeeded")] == counter.slots()
    assert 1 == ran(counter).count("02")


def test_what_is_told_as_cancelled_and_ran_halts_until_it_was_seen(counter):
    counter.ask(1)
    counter.cancel(0)
    done(counter, 0)
    mined(counter, FINAL_DEPTH + 1)
    counter.turn()

    assert counter.row().paused
    assert "which had ended as cancelled" in counter.row().reason
    with counter.engine.begin() as connection:
        resume_signer(connection, "s", counter.now)
    counter.ask(1, first=2)
    counter.finish()
    assert not counter.row().paused
    assert ["02", "03"] == ran(counter)


def test_a_call_of_nobody_is_passed_over(counter):
    done(counter, 0)
    mined(counter)
    counter.ask(1, first=2)
    counter.finish()

    assert not counter.row().paused
    assert [(1, 2, "succeeded")] == counter.slots()
