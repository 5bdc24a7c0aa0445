"""Many ranges in one transaction give the tables that single ones give.

As `test_order`, with adjacent ranges written by `indexer.bulk.Bulk`.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from helpers.history import History, cut, rounds
from helpers.ledger import REGISTRY
from helpers.tables import check, empty, fill_gaps, streams
from indexer.bulk import Bulk
from indexer.chain import Ahead, Chain
from indexer.writer import rewind, write_batch
from properties.test_order import Interrupted, at_statement, kill_server_side, stop

SEEDS = st.integers(0, 2**32)


def write(engine, source, history, ranges):
    """Write adjacent ranges in one transaction; alone where facts are there already."""
    ranges = list(ranges)
    while ranges:
        if bulk_write(engine, source, history, ranges) == 0:
            batch = history.batch(ranges.pop(0))
            write_batch(engine, REGISTRY, source, batch, streams(REGISTRY))


def bulk_write(engine, source, history, ranges):
    """Take ranges off the list and write them; returns how many there were."""
    name = SimpleNamespace(name="test")
    chain = Chain(engine, REGISTRY, name, source, streams(REGISTRY))
    first = Ahead((ranges[0], chain.streams), None, history.height)
    bulk = Bulk(chain, first, history.height)
    taken = 0
    try:
        while taken < len(ranges) and bulk.add(history.batch(ranges[taken])):
            taken += 1
        if taken:
            written = bulk.commit()
            assert written.blocks.first == ranges[0].first
            assert written.blocks.last == ranges[taken - 1].last
    finally:
        bulk.abandon()
    del ranges[:taken]
    return taken


def grouped(history, rng, pieces=12, groups=4):
    """The blocks of a history as groups of adjacent ranges, the groups in any order."""
    ranges = sorted(cut(history, rng, overlap=False, pieces=pieces))
    edges = sorted(rng.sample(range(1, len(ranges)), min(groups, len(ranges) - 1)))
    bounds = zip([0, *edges], [*edges, len(ranges)], strict=True)
    found = [ranges[low:high] for low, high in bounds]
    rng.shuffle(found)
    return found


@rounds(12)
@given(seed=SEEDS, blocks=st.integers(1, 30), repeated=st.booleans())
def test_any_grouping_order_and_repetition(engine, seed, blocks, repeated):
    rng = random.Random(seed)
    history = History.of(seed, blocks)
    source = empty(engine)

    groups = grouped(history, rng)
    if repeated:
        groups += grouped(history, rng)[:3]
    for each in groups:
        write(engine, source, history, each)

    check(engine, REGISTRY, source, history, rng)


@rounds(4)
@given(seed=SEEDS)
def test_parallel_workers(engine, seed):
    rng = random.Random(seed)
    history = History.of(seed, 40)
    source = empty(engine)
    groups = grouped(history, rng, pieces=20, groups=6)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda each: write(engine, source, history, each), groups))

    check(engine, REGISTRY, source, history, rng)


@rounds(8)
@given(seed=SEEDS, killed=st.booleans())
def test_interrupted_in_the_middle_of_many_ranges(engine, seed, killed):
    """Wherever it is cut off, nothing of it stays, and it can be done again."""
    rng = random.Random(seed)
    history = History.of(seed, 24)
    source = empty(engine)
    act = kill_server_side(engine) if killed else stop

    for each in grouped(history, rng, groups=3):
        before = everything(engine)
        try:
            with at_statement(engine, rng.randint(1, 120), act):
                bulk_write(engine, source, history, list(each))
        except (Interrupted, DBAPIError):
            assert everything(engine) == before
            if rng.random() < 0.8:
                write(engine, source, history, each)
    changed = history.fork(rng.randint(1, 10), 3, rng)
    rewind(engine, REGISTRY, source, changed)
    fill_gaps(engine, REGISTRY, source, history, streams(REGISTRY))

    check(engine, REGISTRY, source, history, rng)


def everything(engine):
    """How many rows each table of facts and rows has, and what is covered."""
    tables = [f"facts.{event.spec.table}" for event in REGISTRY.events.values()]
    tables += ["control.block", "control.coverage"]
    with engine.connect() as connection:
        return [
            connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in tables
        ]
