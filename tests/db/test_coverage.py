"""Which blocks are written, against plain sets of numbers."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from db import coverage
from db.coverage import Stream, checkpoint, events_covered, missing, next_range, record
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate
from helpers import servers
from helpers.history import rounds
from helpers.tables import empty

TOP = 30
BLOCKS = st.tuples(st.integers(0, TOP), st.integers(0, TOP)).map(
    lambda pair: BlockRange(min(pair), max(pair))
)
STREAMS = [
    Stream("s.Paid", "0xaa", 0),
    Stream("s.Paid", "0xbb", 5),
    Stream("s.Closed", "0xaa", 12),
]
MARKS = st.lists(
    st.tuples(st.sets(st.sampled_from(STREAMS), min_size=1), BLOCKS), max_size=8
)


@pytest.fixture(scope="module")
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, Registry.of([]))
        yield engine
        engine.dispose()


@pytest.fixture
def connection(engine):
    with engine.connect() as connection:
        yield connection


def blocks(ranges):
    return {height for each in ranges for height in range(each.first, each.last + 1)}


def marked(connection, marks, source=1):
    """Mark in the database and in plain sets."""
    connection.rollback()
    covered = {stream: set() for stream in STREAMS}
    for streams, each in marks:
        record(connection, source, streams, each)
        for stream in streams:
            covered[stream] |= blocks([each])
    return covered


def lacking(covered, within):
    found = {
        stream: {
            height
            for height in range(within.first, within.last + 1)
            if height >= stream.start and height not in done
        }
        for stream, done in covered.items()
    }
    return {stream: heights for stream, heights in found.items() if heights}


@settings(rounds(80))
@given(marks=MARKS, within=BLOCKS)
def test_what_is_missing_is_what_was_not_marked(connection, marks, within):
    covered = marked(connection, marks)

    gaps = missing(connection, 1, STREAMS, within)

    assert lacking(covered, within) == {s: blocks(ranges) for s, ranges in gaps.items()}
    for ranges in gaps.values():
        # Apart from each other, and in order: two that touch would be one.
        for lower, upper in itertools.pairwise(ranges):
            assert lower.last + 1 < upper.first


@settings(rounds(80))
@given(marks=MARKS, within=BLOCKS, limit=st.integers(1, 12))
def test_the_next_range_is_the_lowest_that_some_lack_alike(
    connection, marks, within, limit
):
    wanted = lacking(marked(connection, marks), within)

    found = next_range(missing(connection, 1, STREAMS, within), limit)

    if not wanted:
        assert found is None
        return
    each, streams = found
    lowest = min(min(heights) for heights in wanted.values())
    assert lowest == each.first
    assert each.blocks <= limit
    assert sorted(s for s, heights in wanted.items() if lowest in heights) == streams
    for height in range(each.first, each.last + 1):
        assert streams == sorted(s for s, lacks in wanted.items() if height in lacks)


@settings(rounds(30))
@given(marks=MARKS, within=BLOCKS, limit=st.integers(1, 12))
def test_one_range_after_another_fills_every_gap(connection, marks, within, limit):
    covered = marked(connection, marks)

    for _ in range(200):
        found = next_range(missing(connection, 1, STREAMS, within), limit)
        if found is None:
            break
        each, streams = found
        for stream in streams:
            assert covered[stream].isdisjoint(blocks([each]))
            covered[stream] |= blocks([each])
        record(connection, 1, streams, each)

    assert {} == lacking(covered, within)
    assert {} == missing(connection, 1, STREAMS, within)


@settings(rounds(40))
@given(marks=MARKS, height=st.integers(0, TOP))
def test_unmarking_forgets_a_height_and_all_above(connection, marks, height):
    covered = marked(connection, marks)

    coverage.unmark_from(connection, 1, height)

    within = BlockRange(0, TOP)
    kept = {s: {h for h in done if h < height} for s, done in covered.items()}
    found = missing(connection, 1, STREAMS, within)
    assert lacking(kept, within) == {s: blocks(ranges) for s, ranges in found.items()}


@settings(rounds(40))
@given(marks=MARKS, within=BLOCKS)
def test_an_event_is_covered_where_any_filter_of_it_is(connection, marks, within):
    covered = marked(connection, marks)

    expected = {
        stream.event
        for stream, done in covered.items()
        if not done.isdisjoint(blocks([within]))
    }
    assert expected == events_covered(connection, 1, within)


@settings(rounds(40))
@given(marks=MARKS)
def test_the_checkpoint_is_the_last_block_before_any_gap(connection, marks):
    covered = marked(connection, marks)

    first_gap = min(
        next(h for h in range(stream.start, TOP + 2) if h not in done)
        for stream, done in covered.items()
    )
    expected = first_gap - 1 if first_gap > 0 else None
    assert expected == checkpoint(connection, 1, STREAMS)


def test_sources_are_apart(connection):
    marked(connection, [({STREAMS[0]}, BlockRange(0, 9))], source=1)

    within = BlockRange(0, 9)
    assert {} == missing(connection, 1, STREAMS[:1], within)
    assert {STREAMS[0]: [within]} == missing(connection, 2, STREAMS[:1], within)
    assert set() == events_covered(connection, 2, within)
    coverage.unmark_from(connection, 2, 0)
    assert {} == missing(connection, 1, STREAMS[:1], within)


def test_without_streams_nothing_is_missing_and_there_is_no_checkpoint(connection):
    assert {} == missing(connection, 1, [], BlockRange(0, 9))
    assert checkpoint(connection, 1, []) is None
    assert next_range({}, 10) is None
    record(connection, 1, [], BlockRange(0, 9))


def test_a_stream_that_begins_later_holds_no_checkpoint_back(connection):
    connection.rollback()
    late = Stream("s.Late", "0xaa", 100)
    record(connection, 1, [STREAMS[0]], BlockRange(0, 50))

    assert 50 == checkpoint(connection, 1, [STREAMS[0], late])
    record(connection, 1, [STREAMS[0]], BlockRange(51, 200))
    assert 99 == checkpoint(connection, 1, [STREAMS[0], late])
    assert checkpoint(connection, 1, [late]) is None


def test_marks_that_commit_side_by_side_add_up(engine):
    source = empty(engine)
    first, second = engine.connect(), engine.connect()
    with first, second:
        record(first, source, STREAMS, BlockRange(0, 4))
        first.commit()
        record(second, source, list(reversed(STREAMS)), BlockRange(5, 9))
        second.commit()
        assert 9 == checkpoint(first, source, STREAMS[:1])
