"""What the chain does to us: faults 10 to 14 and 18 of the list."""

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from db import sources
from db.commands.evm.holding import resume_signer
from db.commands.evm.slots import register_signer
from db.incidents import resolve_all
from helpers import servers
from helpers.counter import Counter
from helpers.schedules import ADDRESS


@pytest.fixture
def counter(migrated_engine):
    return Counter(migrated_engine)


def test_10_an_index_that_is_silent_for_45_minutes_fails_nothing(counter):
    counter.ask()
    counter.turn()
    counter.chain.mine()
    for _ in range(45):
        counter.wait(minutes=1)
        counter.turn()

    assert "signed" == counter.state()
    assert 45 * 60 == counter.health().oldest_open_seconds
    assert 1 == counter.health().open_slots
    counter.block(6)
    assert ("succeeded", {0: 1}) == (counter.state(), counter.ran())


def test_11_another_wallet_uses_the_key(counter, caplog):
    counter.chain.base = 30
    counter.ask(2)
    counter.turn()
    counter.chain.outside()
    counter.chain.base = 1
    counter.block(4)
    assert "signed" == counter.state(0)

    counter.finish()

    assert ["succeeded", "succeeded"] == counter.states()
    assert {0: 1, 1: 1} == counter.ran()
    assert [(0, 0, "lost"), (1, 1, "succeeded"), (2, 0, "succeeded")] == counter.slots()
    assert "key_already_used signer=s nonce=0" in caplog.text
    assert not counter.row().paused


@pytest.mark.parametrize("returns", [True, False])
def test_12_its_block_is_undone(counter, returns):
    counter.ask()
    counter.turn()
    counter.block()
    assert "included" == counter.state()

    [gone] = counter.chain.undo()
    if returns:
        counter.chain.pool[0] = gone
    counter.chain.blocks.append([])
    counter.index()
    counter.turn()
    assert "signed" == counter.state()
    counter.finish()

    path = ["accepted", "slotted", "signed", "included", "signed", "included"]
    assert [*path, "succeeded"] == counter.told()
    assert {0: 1} == counter.ran()


def test_13_an_undone_block_that_was_final_halts_the_signer(counter, caplog):
    """The indexer stops the chain for it; nothing is signed until a person says so."""
    counter.ask(2)
    with counter.engine.begin() as connection:
        sources.report_incident(connection, counter.source, "finality_violated", {})

    counter.turn()
    counter.turn()

    assert counter.row().paused
    assert "signer_halted signer=s" in caplog.text
    assert "finality_violated" in counter.blocker().reason
    assert "sign resume" in counter.blocker().remedy
    assert [] == counter.attempts()
    with counter.engine.begin() as connection:
        resolve_all(connection, counter.source, by="a person", reason="it is over")
        resume_signer(connection, "s", counter.now)
    counter.finish()
    assert {0: 1, 1: 1} == counter.ran()


def test_13_a_transaction_that_settled_a_nonce_is_gone(counter, caplog):
    counter.ask()
    counter.finish()
    assert "succeeded" == counter.state()

    while counter.chain.blocks[1:]:
        counter.chain.undo()
    counter.chain.blocks += [[]] * 12
    counter.ask(first=1)
    counter.index()
    counter.turn()
    counter.turn()

    assert "nonce 0 is no longer on the chain" in counter.row().reason
    assert ["succeeded", "accepted"] == counter.states()
    with counter.engine.begin() as connection:
        resume_signer(connection, "s", counter.now)
    counter.turn()
    assert not counter.row().paused


@pytest.mark.parametrize("won", ["the call", "the cancel"])
def test_14_a_cancel_races_with_mining(counter, won):
    counter.chain.base = 30
    counter.ask()
    counter.turn()
    counter.cancel(0)
    assert "closing" == counter.state()
    counter.turn()
    call, cancel = counter.attempts()
    assert ("call", "cancel") == (call.purpose, cancel.purpose)
    assert cancel.gas_price > call.gas_price

    if won == "the call":
        counter.chain.pool.clear()
        counter.chain.take(bytes(call.raw))
    counter.chain.base = 1
    counter.block(6)

    if won == "the call":
        assert ("succeeded", {0: 1}) == (counter.state(), counter.ran())
        assert "mined before its cancel" in counter.command(0).reason
    else:
        assert ("cancelled", {}) == (counter.state(), counter.ran())


def restored(counter, backup_url):
    """The database as it was, all workers gone; the next one registers again."""
    engine = create_engine(backup_url, poolclass=NullPool)
    counter.engine = engine
    counter.chain.indexed = list(counter.kept)
    with engine.begin() as connection:
        register_signer(
            connection, name="s", source_id=counter.source, address=ADDRESS,
            next_nonce=counter.chain.consumed(), floor=counter.signer.floor(),
            gate_height=len(counter.chain.blocks) - 1,
        )  # fmt: skip
    counter.context = counter.seat(engine)


@pytest.fixture
def backup(counter, postgres_url, migrated_url):
    """Copies the database, now or in the test; the copy is what is restored."""
    made = []

    def copy():
        counter.engine.dispose()
        counter.kept = list(counter.chain.indexed)
        name = migrated_url.rsplit("/", 1)[1]
        made.append(servers.create_database(postgres_url, name))
        return made[-1]

    yield copy
    for url in made:
        servers.drop_database(postgres_url, url)


def test_18_yesterday_s_backup_runs_nothing_again(counter, backup):
    """Between the backup and its return: two done, one sent and not mined, one new."""
    counter.ask(4)
    url = backup()
    counter.context = counter.seat(counter.engine)
    counter.turn()
    done, pending = dict(list(counter.chain.pool.items())[:2]), counter.chain.pool[2]
    counter.chain.pool = done
    counter.block(6)
    assert ["succeeded"] * 2 == counter.states()[:2]
    counter.chain.pool = {2: pending}

    restored(counter, url)
    assert ["accepted"] * 4 == counter.states()
    counter.turn()
    assert ["accepted"] * 4 == counter.states()  # the index has not passed the gate
    counter.finish()

    assert ["succeeded"] * 4 == counter.states()
    assert dict.fromkeys(range(4), 1) == counter.ran()
    assert not counter.row().paused


def test_18_a_command_that_nobody_knows_halts_the_signer(counter, backup, caplog):
    url = backup()
    counter.ask()
    counter.finish()

    restored(counter, url)
    counter.ask(first=1)
    counter.index()
    counter.turn()
    counter.turn()

    assert counter.row().paused
    assert "which this database lacks" in counter.row().reason
    assert ["accepted"] == counter.states()
    assert [] == counter.attempts()
    with counter.engine.begin() as connection:
        resume_signer(connection, "s", counter.now)
    counter.finish()
    assert {0: 1, 1: 1} == counter.ran()
    assert not counter.row().paused
