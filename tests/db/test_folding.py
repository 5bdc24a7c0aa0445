"""Facts that come and go: which rows change, and which are left alone."""

import pytest
from sqlalchemy import create_engine, text

from db.engine import lock_projection
from db.folding import unfold_from
from db.position import BlockRange
from db.schema import migrate
from db.sql.columns import state_table
from helpers import reference, servers
from helpers.ledger import REGISTRY, Opened, Paid, Refunded
from helpers.stories import StoryChain, write
from helpers.tables import empty, live_rows, problems, streams
from indexer.writer import rewind, write_batch

ANNA, BEN, A, B, C = (bytes([n]) * 20 for n in range(1, 6))


@pytest.fixture(scope="module")
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, REGISTRY)
        yield engine
        engine.dispose()


@pytest.fixture
def source(engine):
    return empty(engine)


def versions(engine, plural, key):
    """Which transaction wrote each row last, by a key."""
    table = state_table(REGISTRY.projections[plural].spec)
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT {key}, xmin, ctid FROM {table}"))
        return {bytes(row[0]): (row[1], row[2]) for row in rows}


def reads_right(engine, source, facts):
    with engine.connect() as connection:
        for projection in REGISTRY.projections.values():
            expected = reference.fold(projection, facts)
            assert expected == live_rows(connection, projection, source)
        assert [] == problems(connection, REGISTRY)


def test_a_rewind_recomputes_the_keys_it_touches_and_no_other(engine, source):
    chain = StoryChain()
    for deal in (A, B):
        chain.emit(Opened, deal=deal)
        chain.emit(Paid, deal=deal, payer=ANNA, amount=5)
    chain.mine()
    chain.emit(Paid, deal=B, payer=BEN, amount=7)
    write(engine, REGISTRY, source, chain)
    before = {p: versions(engine, p, "deal") for p in ("deals", "progresses")}

    assert 1 == rewind(engine, REGISTRY, source, 1)

    for plural, rows in before.items():
        after = versions(engine, plural, "deal")
        assert rows[A] == after[A]
        assert rows[B] != after[B]
    reads_right(engine, source, chain.facts[:-1])


def test_a_row_without_facts_is_gone(engine, source):
    chain = StoryChain()
    chain.emit(Paid, deal=A, payer=ANNA, amount=5)
    chain.mine()
    chain.emit(Paid, deal=B, payer=ANNA, amount=5)
    write(engine, REGISTRY, source, chain)

    assert 1 == rewind(engine, REGISTRY, source, 1)
    assert {A} == set(versions(engine, "deals", "deal"))
    assert 1 == rewind(engine, REGISTRY, source, 0)
    assert {} == versions(engine, "deals", "deal")
    reads_right(engine, source, [])


def test_a_rewind_above_all_facts_changes_nothing(engine, source):
    chain = StoryChain()
    chain.emit(Paid, deal=A, payer=ANNA, amount=5)
    write(engine, REGISTRY, source, chain)
    before = versions(engine, "deals", "deal")

    assert 0 == rewind(engine, REGISTRY, source, 1)
    assert before == versions(engine, "deals", "deal")


def test_a_rewind_of_one_chain_leaves_the_other(engine):
    one, two = empty(engine, "one", "two")
    chain = StoryChain()
    chain.emit(Paid, deal=A, payer=ANNA, amount=5)
    batch = chain.batch(BlockRange(0, 0))
    for source in (one, two):
        write_batch(engine, REGISTRY, source, batch, streams(REGISTRY))

    assert 1 == rewind(engine, REGISTRY, one, 0)

    reads_right(engine, one, [])
    reads_right(engine, two, chain.facts)


def test_facts_that_were_there_touch_no_row(engine, source):
    chain = StoryChain()
    chain.emit(Paid, deal=A, payer=ANNA, amount=5)
    chain.emit(Opened, deal=A)
    write(engine, REGISTRY, source, chain)
    before = versions(engine, "deals", "deal")

    batch = chain.batch(BlockRange(0, 0))
    write_batch(engine, REGISTRY, source, batch, streams(REGISTRY))

    assert before == versions(engine, "deals", "deal")


def test_one_event_is_merged_while_another_is_repaired(engine, source):
    """Both count for the same row, in the same transaction."""
    chain = StoryChain()
    chain.emit(Paid, deal=A, payer=ANNA, amount=5)
    chain.emit(Paid, deal=B, payer=ANNA, amount=6)
    chain.emit(Refunded, deal=A, payer=ANNA, paid=2)
    chain.emit(Opened, deal=C, title="c")
    blocks = BlockRange(0, 0)
    first = chain.batch(blocks)
    half = [f.within(0, 0) for f in first.facts if f.event is Paid]
    wanted = streams(REGISTRY, "one", events={"ledger.Paid"})
    write_batch(
        engine, REGISTRY, source, type(first)(blocks, first.headers, half), wanted
    )

    write_batch(engine, REGISTRY, source, first, streams(REGISTRY, "two"))

    reads_right(engine, source, chain.facts)


def test_a_projection_of_other_events_is_not_even_locked(engine, source):
    """Two writers meet only where they fold into the same table."""
    chain = StoryChain()
    chain.emit(Opened, deal=A)
    with engine.begin() as connection:
        lock_projection(connection, "balances", alone=True)
        lock_projection(connection, "payers", alone=True)
        write(engine, REGISTRY, source, chain)


def test_unfolding_is_undone_with_its_transaction(engine, source):
    chain = StoryChain()
    chain.emit(Paid, deal=A, payer=ANNA, amount=5)
    write(engine, REGISTRY, source, chain)

    with engine.connect() as connection:
        assert 1 == unfold_from(connection, REGISTRY, source, 0)
        connection.rollback()

    reads_right(engine, source, chain.facts)
