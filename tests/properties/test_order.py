"""Any split, order, repetition, parallel workers and reorgs give the reference's tables.

The heart of the suite: hypothesis chooses a history and a way of writing it; the slow
`helpers.reference.fold` says what must come out, live and as of any block.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from db import sources
from db.position import BlockRange
from db.schema import migrate
from helpers import reference
from helpers.history import History
from helpers.ledger import REGISTRY
from helpers.tables import live_rows, problems, rows_as_of, streams
from indexer.writer import rewind, write_batch

ROUNDS = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)


@pytest.fixture(scope="module")
def engine(postgres_url):
    from helpers import servers

    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url, pool_size=8)
        migrate(engine, REGISTRY)
        yield engine
        engine.dispose()


def empty(engine):
    """Forget all chains, and begin one."""
    with engine.begin() as connection:
        tables = connection.execute(
            text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname IN ('facts', 'state') OR (schemaname = 'control'"
                " AND tablename NOT IN ('alembic_version', 'declaration'))"
            )
        ).scalars()
        connection.execute(text(f"TRUNCATE {', '.join(tables)}"))
        row = sources.register(
            connection, name="test", chain_id="eip155:1", ordinals="rank"
        )
    return row.id


def cut(history, rng, *, overlap):
    """The blocks of a history as ranges in random order, some twice, some overlapping."""
    edges = sorted(rng.sample(range(1, history.height + 1), min(6, history.height)))
    firsts = [0, *edges]
    ranges = [
        BlockRange(first, last - 1)
        for first, last in zip(firsts, [*edges, history.height + 1], strict=True)
    ]
    if overlap:
        for _ in range(3):
            first = rng.randint(0, history.height)
            ranges.append(BlockRange(first, rng.randint(first, history.height)))
    rng.shuffle(ranges)
    return ranges


def check(engine, source, history, rng):
    """Live rows, rows as of some blocks, and verify, against the reference."""
    facts = history.all_facts()
    with engine.connect() as connection:
        for projection in REGISTRY.projections.values():
            expected = reference.fold(projection, facts)
            assert live_rows(connection, projection, source) == expected
            for height in (0, rng.randint(0, history.height), history.height):
                expected = reference.fold(projection, facts, as_of=height)
                assert rows_as_of(connection, projection, source, height) == expected
        assert problems(connection, REGISTRY) == []


@ROUNDS
@given(seed=st.integers(0, 2**32), blocks=st.integers(1, 25), overlap=st.booleans())
def test_any_split_order_and_repetition(engine, seed, blocks, overlap):
    rng = random.Random(seed)
    history = History.of(seed, blocks)
    source = empty(engine)

    for each in cut(history, rng, overlap=overlap):
        write_batch(engine, REGISTRY, source, history.batch(each), streams(REGISTRY))

    check(engine, source, history, rng)


@ROUNDS
@given(seed=st.integers(0, 2**32), blocks=st.integers(2, 20))
def test_reorgs_between_writes(engine, seed, blocks):
    rng = random.Random(seed)
    history = History.of(seed, blocks)
    source = empty(engine)

    for _ in range(3):
        for each in cut(history, rng, overlap=True):
            write_batch(
                engine, REGISTRY, source, history.batch(each), streams(REGISTRY)
            )
        changed = history.fork(rng.randint(1, history.height), rng.randint(1, 6), rng)
        rewind(engine, REGISTRY, source, changed)
    for each in cut(history, rng, overlap=True):
        write_batch(engine, REGISTRY, source, history.batch(each), streams(REGISTRY))

    check(engine, source, history, rng)


@settings(ROUNDS, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_parallel_workers(engine, seed):
    rng = random.Random(seed)
    history = History.of(seed, 40)
    source = empty(engine)
    ranges = cut(history, rng, overlap=False)

    def write(each):
        write_batch(engine, REGISTRY, source, history.batch(each), streams(REGISTRY))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ranges))

    check(engine, source, history, rng)
