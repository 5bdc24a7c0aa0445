"""How far a chain is read, said by coverage and by the plan."""

import random

import pytest
from sqlalchemy import text

from db import coverage, reads, sources, status
from db.coverage import Stream
from db.fit import examine
from db.leases import acquire_follower_lease
from db.position import BlockRange
from db.proofs import Proof
from db.registry import Registry
from db.schema import migrate
from helpers import ledger
from indexer import streams as indexer_streams

PAID, OPENED = "ledger.Paid", "ledger.Opened"


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, ledger.REGISTRY)
    return db_engine


@pytest.fixture
def source(engine):
    with engine.begin() as connection:
        row = sources.register(
            connection, name="test", chain_id="eip155:1", ordinals="rank"
        )
    return row.id


def cover(engine, source, event, *ranges, filter_="a"):
    with engine.begin() as connection:
        for first, last in ranges:
            coverage.record(
                connection, source, [Stream(event, filter_, 0)], BlockRange(first, last)
            )


def checkpoint(engine, source, events, plan=None):
    with engine.connect() as connection:
        return reads.checkpoint(connection, source, events, plan)


def test_the_chain_s_own_stream_is_the_indexer_s():
    assert indexer_streams.BLOCKS == reads.BLOCKS


def test_nothing_is_indexed_at_first(engine, source):
    assert checkpoint(engine, source, [PAID]) is None
    assert checkpoint(engine, source, [PAID], []) is None
    assert checkpoint(engine, source, [PAID], [Stream(PAID, "a", 0)]) is None


def test_it_ends_before_the_first_gap(engine, source):
    cover(engine, source, PAID, (5, 10), (12, 20))

    assert checkpoint(engine, source, [PAID]) == 10

    cover(engine, source, PAID, (11, 11))
    assert checkpoint(engine, source, [PAID]) == 20


def test_every_filter_and_every_event_counts(engine, source):
    cover(engine, source, PAID, (0, 20))
    cover(engine, source, PAID, (8, 15), filter_="b")
    cover(engine, source, OPENED, (0, 9))

    assert checkpoint(engine, source, [PAID]) == 15
    assert checkpoint(engine, source, [PAID, OPENED]) == 9


def test_no_block_is_named_that_was_not_read(engine, source):
    """A contract that begins later says nothing about the blocks before."""
    cover(engine, source, reads.BLOCKS, (0, 7), filter_="")
    plan = [Stream(reads.BLOCKS, "", 0), Stream(PAID, "a", 100)]

    assert checkpoint(engine, source, [PAID], plan) == 7

    cover(engine, source, reads.BLOCKS, (8, 300), filter_="")
    assert checkpoint(engine, source, [PAID], plan) == 99


def test_an_event_that_is_not_on_the_chain_is_as_far_as_the_chain(engine, source):
    cover(engine, source, reads.BLOCKS, (3, 30), filter_="")

    assert checkpoint(engine, source, [PAID]) == 30
    assert checkpoint(engine, source, [PAID], [Stream(reads.BLOCKS, "", 3)]) == 30


class TestOnlyThePlanKnows:
    def test_an_event_that_was_never_read(self, engine, source):
        cover(engine, source, PAID, (0, 20))
        plan = [Stream(PAID, "a", 0), Stream(OPENED, "a", 0)]

        assert checkpoint(engine, source, [PAID, OPENED]) == 20
        assert checkpoint(engine, source, [PAID, OPENED], plan) is None
        assert checkpoint(engine, source, [PAID], plan) == 20

    def test_the_first_block(self, engine, source):
        cover(engine, source, PAID, (50, 60))

        assert checkpoint(engine, source, [PAID]) == 60
        assert checkpoint(engine, source, [PAID], [Stream(PAID, "a", 0)]) is None

    def test_an_address_no_longer_followed(self, engine, source):
        cover(engine, source, PAID, (0, 5), filter_="old")
        cover(engine, source, PAID, (0, 60))

        assert checkpoint(engine, source, [PAID]) == 5
        assert checkpoint(engine, source, [PAID], [Stream(PAID, "a", 0)]) == 60


def test_a_rewind_to_before_the_beginning_leaves_nothing(engine, source):
    cover(engine, source, PAID, (5, 10))
    cover(engine, source, OPENED, (0, 10))
    with engine.begin() as connection:
        coverage.unmark_from(connection, source, 3)

    assert checkpoint(engine, source, [PAID]) is None
    assert checkpoint(engine, source, [PAID, OPENED]) is None
    assert checkpoint(engine, source, [OPENED]) == 2


def test_exact_is_what_no_later_block_has_touched(engine, source):
    def exact(events, as_of=None):
        with engine.connect() as connection:
            mark = reads.read_freshness(connection, source, events, as_of=as_of)
        return mark.block.exact

    cover(engine, source, PAID, (0, 20))
    cover(engine, source, OPENED, (0, 9))

    assert exact([PAID])
    assert exact([OPENED])
    assert not exact([PAID, OPENED])
    assert exact([PAID, OPENED], as_of=9)


def test_the_mark_knows_its_block(engine, source):
    cover(engine, source, PAID, (0, 20))
    with engine.begin() as connection:
        sources.observe(connection, source, head=25, head_time=1, final=12)
        connection.execute(
            text("INSERT INTO control.block VALUES (1, 20, '\\xaa', '\\xbb', 77)")
        )

    with engine.connect() as connection:
        live = reads.read_freshness(connection, source, [PAID])
        past = reads.read_freshness(connection, source, [PAID], as_of=12)
        above = reads.read_freshness(connection, source, [PAID], as_of=21)
    assert live.block == reads.BlockInfo("test", 20, "0xaa", 77, False, True, Proof())
    assert past.block == reads.BlockInfo("test", 12, None, None, True, True, Proof())
    assert (above.checkpoint, above.block) == (20, None)


class TestReadAgain:
    """Progress that was read is remembered until something is committed."""

    def both(self, reader, source, events=(PAID,)):
        again = reads.read_freshness_again(reader, source, events)
        assert again == reads.read_freshness(reader, source, events)
        return again

    def test_nothing_is_read_twice_for_nothing(self, engine, source):
        cover(engine, source, PAID, (0, 20))
        with engine.connect() as reader:
            reader = reader.execution_options(isolation_level="AUTOCOMMIT")
            first = reads.read_freshness_again(reader, source, [PAID])
            assert reads.read_freshness_again(reader, source, [PAID]) is first
            cover(engine, source, OPENED, (0, 20))
            assert reads.read_freshness_again(reader, source, [PAID]) is not first

    def test_whatever_is_committed_is_seen(self, engine, source):
        """Writers begin, commit and give up in every order that a seed gives."""
        dice, seen, writing = random.Random(7), set(), {}
        with engine.connect() as reader:
            reader = reader.execution_options(isolation_level="AUTOCOMMIT")
            for height in range(200):
                event = dice.choice([PAID, OPENED, "ledger.Other"])
                if event not in writing:
                    writing[event] = connection = engine.connect()
                    stream, blocks = Stream(event, "a", 0), BlockRange(0, height)
                    coverage.record(connection, source, [stream], blocks)
                elif dice.random() < 0.7:
                    with writing.pop(event) as connection:
                        connection.commit()
                else:
                    writing.pop(event).close()
                for events in ((PAID,), (OPENED,), (PAID, OPENED)):
                    seen.add(self.both(reader, source, events).checkpoint)
            for connection in writing.values():
                connection.close()
        assert len(seen) > 10

    def test_another_plan_is_another_question(self, engine, source):
        cover(engine, source, PAID, (50, 60))
        with engine.connect() as reader:
            reader = reader.execution_options(isolation_level="AUTOCOMMIT")
            plan = [Stream(PAID, "a", 0)]
            assert reads.read_freshness_again(reader, source, [PAID]).checkpoint == 60
            planned = reads.read_freshness_again(reader, source, [PAID], plan)
            assert planned.checkpoint is None


class TestChainStatus:
    def status(self, engine, source, plan=None):
        with engine.connect() as connection:
            return status.chain_status(connection, source, plan)

    def test_before_the_first_poll(self, engine, source):
        found = self.status(engine, source)

        assert (found.name, found.chain_id, found.state) == ("test", "eip155:1", "new")
        assert (found.head, found.final, found.checkpoint) == (None, None, None)
        assert (found.lag_blocks, found.gaps, found.incidents) == (None, (), ())
        assert (found.polled_at, found.followed_by) == (None, None)

    def test_with_gaps_and_an_incident(self, engine, source):
        cover(engine, source, PAID, (0, 10), (15, 20), (30, 40))
        cover(engine, source, OPENED, (0, 17))
        with engine.begin() as connection:
            sources.observe(connection, source, head=50, head_time=1, final=12)
            sources.set_state(connection, source, "stopped", "block 3 changed")
            sources.report_incident(
                connection, source, "finality_violated", {"cause": "block 3 changed"}
            )
        acquire_follower_lease(engine, source)

        found = self.status(engine, source)

        assert (found.head, found.final, found.checkpoint) == (50, 12, 10)
        assert found.lag_blocks == 40
        assert found.gaps == (BlockRange(11, 14), BlockRange(18, 40))
        assert (found.state, found.cause) == ("stopped", "block 3 changed")
        assert found.incidents == ("block 3 changed",)
        assert found.polled_at is not None
        assert found.followed_by is not None

    def test_the_plan_shows_what_was_never_read(self, engine, source):
        cover(engine, source, PAID, (0, 10))
        plan = [Stream(PAID, "a", 0), Stream(OPENED, "a", 4)]

        found = self.status(engine, source, plan)

        assert found.checkpoint == 3
        assert found.gaps == (BlockRange(4, 10),)


def test_what_differs_from_the_declarations_is_named(engine):
    with engine.connect() as connection:
        assert examine(connection, ledger.REGISTRY).message == ""
        other = Registry.of([ledger.Paid], [])
        assert "deals is in it and not declared" in examine(connection, other).message
        connection.execute(
            text("UPDATE control.declaration SET fingerprint = '' WHERE name = 'deals'")
        )
        found = examine(connection, ledger.REGISTRY)
        assert found.differences == ("deals is declared otherwise",)
