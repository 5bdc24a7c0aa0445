"""Any split, order, repetition, workers and reorgs give the reference's tables.

The heart of the suite: hypothesis chooses a history and a way of writing it; the slow
`helpers.reference.fold` says what must come out, live and as of any block.
`CHAINFOLD_TEST_EXAMPLES=20` tries twenty times as many.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from db.coverage import missing
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate, rebuild
from helpers.history import History, cut, rounds
from helpers.ledger import EVENTS, PROJECTIONS, REGISTRY
from helpers.tables import check, empty, fill_gaps, streams, write_both
from indexer.writer import rewind, write_batch

SEEDS = st.integers(0, 2**32)


def write(engine, source, history, blocks):
    write_batch(engine, REGISTRY, source, history.batch(blocks), streams(REGISTRY))


@rounds(12)
@given(seed=SEEDS, blocks=st.integers(1, 25), overlap=st.booleans())
def test_any_split_order_and_repetition(engine, seed, blocks, overlap):
    rng = random.Random(seed)
    history = History.of(seed, blocks)
    source = empty(engine)

    for each in cut(history, rng, overlap=overlap):
        write(engine, source, history, each)

    check(engine, REGISTRY, source, history, rng)


@rounds(5)
@given(seed=SEEDS, blocks=st.integers(2, 14))
def test_reorgs_between_writes(engine, seed, blocks):
    rng = random.Random(seed)
    history = History.of(seed, blocks)
    source = empty(engine)

    for _ in range(2):
        for each in cut(history, rng, overlap=True, pieces=3):
            write(engine, source, history, each)
        changed = history.fork(rng.randint(1, history.height), rng.randint(1, 6), rng)
        rewind(engine, REGISTRY, source, changed)
    fill_gaps(engine, REGISTRY, source, history, streams(REGISTRY))

    check(engine, REGISTRY, source, history, rng)


@rounds(4)
@given(seed=SEEDS)
def test_parallel_workers(engine, seed):
    rng = random.Random(seed)
    history = History.of(seed, 30)
    source = empty(engine)
    ranges = cut(history, rng, overlap=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: write(engine, source, history, each), ranges))

    check(engine, REGISTRY, source, history, rng)


@rounds(3)
@given(seed=SEEDS)
def test_parallel_workers_on_the_same_blocks(engine, seed):
    """One of two that copy the same fact fails, writes nothing, and tries again."""
    rng = random.Random(seed)
    history = History.of(seed, 20)
    source = empty(engine)
    ranges = cut(history, rng, overlap=True)

    def insist(each):
        for _ in range(20):
            try:
                return write(engine, source, history, each)
            except (IntegrityError, OperationalError):
                continue
        raise AssertionError(f"{each} was never written")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(insist, ranges))

    check(engine, REGISTRY, source, history, rng)


class Interrupted(Exception):
    """Raised in the middle of a transaction."""


@contextmanager
def at_statement(engine, number, act):
    """Call `act(connection)` when the engine is about to run its n-th statement."""
    seen = 0

    def count(connection, cursor, statement, parameters, context, many):
        nonlocal seen
        seen += 1
        if seen == number:
            act(connection)

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", count)


def stop(connection):
    raise Interrupted


def kill_server_side(engine):
    def kill(connection):
        pid = connection.connection.dbapi_connection.info.backend_pid
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            other.rollback()

    return kill


@rounds(5)
@given(seed=SEEDS, killed=st.booleans())
def test_interrupted_writes(engine, seed, killed):
    """Wherever a write is cut off, nothing of it stays, and it can be done again."""
    rng = random.Random(seed)
    history = History.of(seed, 15)
    source = empty(engine)
    act = kill_server_side(engine) if killed else stop

    for each in cut(history, rng, overlap=True, pieces=4):
        try:
            with at_statement(engine, rng.randint(1, 60), act):
                write(engine, source, history, each)
        except (Interrupted, DBAPIError):
            if rng.random() < 0.8:
                write(engine, source, history, each)
    changed = history.fork(rng.randint(1, 10), 3, rng)
    try:
        with at_statement(engine, rng.randint(1, 60), act):
            rewind(engine, REGISTRY, source, changed)
    except (Interrupted, DBAPIError):
        rewind(engine, REGISTRY, source, changed)
    fill_gaps(engine, REGISTRY, source, history, streams(REGISTRY))

    check(engine, REGISTRY, source, history, rng)


@rounds(4)
@given(seed=SEEDS)
def test_two_chains_in_the_same_tables(engine, seed):
    rng = random.Random(seed)
    histories = [History.of(seed, 12), History.of(seed + 1, 15)]
    chains = list(zip(empty(engine, "one", "two"), histories, strict=True))

    writes = [
        (source, history, each)
        for source, history in chains
        for each in cut(history, rng, overlap=True, pieces=3)
    ]
    rng.shuffle(writes)
    for source, history, each in writes:
        write(engine, source, history, each)
    changed = histories[0].fork(rng.randint(1, 8), 4, rng)
    rewind(engine, REGISTRY, chains[0][0], changed)
    fill_gaps(engine, REGISTRY, *chains[0], streams(REGISTRY))

    for source, history in chains:
        check(engine, REGISTRY, source, history, rng)


@rounds(4)
@given(seed=SEEDS)
def test_a_projection_declared_later_is_folded_from_the_facts(engine, seed):
    rng = random.Random(seed)
    history = History.of(seed, 15)
    source = empty(engine)
    fewer = Registry.of(EVENTS, rng.sample(PROJECTIONS, rng.randint(0, 4)))
    ranges = cut(history, rng, overlap=True)

    migrate(engine, fewer, drop=True)
    for each in ranges[:4]:
        write_batch(engine, fewer, source, history.batch(each), streams(fewer))
    migrate(engine, REGISTRY)
    for each in ranges[4:]:
        write(engine, source, history, each)

    check(engine, REGISTRY, source, history, rng)
    for plural in REGISTRY.projections:
        rebuild(engine, REGISTRY, plural)
    check(engine, REGISTRY, source, history, rng)


@rounds(4)
@given(seed=SEEDS)
def test_events_and_filters_read_later_over_old_blocks(engine, seed):
    """New events are merged; another filter of an old event is staged and repaired."""
    rng = random.Random(seed)
    history = History.of(seed, 15)
    source = empty(engine)
    early = set(rng.sample(list(REGISTRY.events), rng.randint(1, 4)))
    passes = [
        ("even", early, lambda fact: fact.position % 2 == 0),
        ("odd", early, lambda fact: fact.position % 2 == 1),
        ("all", set(REGISTRY.events) - early, lambda fact: True),
    ]
    rng.shuffle(passes)

    for filter_, events, keep in passes:
        wanted = streams(REGISTRY, filter_, events=events)
        for each in cut(history, rng, overlap=True, pieces=3):
            batch = history.batch(each, keep)
            write_batch(engine, REGISTRY, source, batch, wanted)

    check(engine, REGISTRY, source, history, rng)
    with engine.connect() as connection:
        within = BlockRange(0, history.height)
        assert {} == missing(connection, source, wanted, within)


@rounds(4)
@given(seed=SEEDS)
def test_another_filter_committed_in_the_middle_of_a_write(engine, seed):
    """Facts of others that appear between reading coverage and merging count once."""
    rng = random.Random(seed)
    history = History.of(seed, 10)
    source = empty(engine)
    everything = BlockRange(0, history.height)

    def half(filter_, parity):
        batch = history.batch(everything, lambda fact: fact.position % 2 == parity)
        return batch, streams(REGISTRY, filter_)

    write_both(engine, REGISTRY, source, half("even", 0), half("odd", 1))

    check(engine, REGISTRY, source, history, rng)
