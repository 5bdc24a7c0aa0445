"""What is read back is what the reference says, whatever page it is on."""

import itertools
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from db import reads, sources
from db.declare import Count, First, Key, Latest, Max, Projection, Sum
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate
from db.sql.columns import state_name
from helpers import ledger, reference, servers
from helpers.history import ADDRESSES, History
from helpers.tables import streams
from indexer.writer import write_batch

HEIGHT = 60


class Ranked(Projection):
    """Sorted by columns of every kind, some of them without a value."""

    deal = Key()

    raised = Sum(ledger.Paid.amount)
    payments = Count(ledger.Paid)
    goal = Latest(ledger.Opened.goal)
    title = First(ledger.Opened.title)
    open = Latest({ledger.Opened: True, ledger.Closed: False})
    paid_at = Max(ledger.Paid.block_time)
    index = ("raised", "payments", "goal", "title", "open", "paid_at")


class Payments(Projection):
    """Many rows: two keys, one of them a transaction's own amount."""

    plural = "payments"
    payer = Key()
    kind = Key()

    total = Sum(ledger.Paid.amount)
    last = Max(ledger.Paid.amount)
    index = ("total", "kind")


REGISTRY = Registry.of(ledger.EVENTS, [*ledger.PROJECTIONS, Ranked, Payments])
PROJECTIONS = list(REGISTRY.projections.values())
HISTORY = History.of(7, HEIGHT)


@pytest.fixture(scope="module")
def url(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def engine(url):
    """A database with the history on one chain and a shorter one on another."""
    writer = create_engine(url)
    migrate(writer, REGISTRY)
    register(writer, "first")
    register(writer, "second")
    write(writer, 1, HISTORY, BlockRange(0, HEIGHT))
    write(writer, 2, History.of(8, 10), BlockRange(0, 10))
    writer.dispose()
    engine = reads.read_engine(url)
    yield engine
    engine.dispose()


def register(engine, name):
    with engine.begin() as connection:
        row = sources.register(
            connection, name=name, chain_id=f"eip155:{name}", ordinals="rank"
        )
    return row.id


def write(engine, source, history, blocks, of=None, registry=None):
    registry = registry or REGISTRY
    write_batch(
        engine, registry, source, history.batch(blocks), of or streams(registry)
    )


def rows(engine, spec, source=1, **query):
    """Every row of a query, page by page."""
    found, after = [], None
    for _ in range(1000):
        page = reads.read(
            engine,
            lambda c, after=after: reads.select_rows(
                c, spec, source, after=after, **query
            ),
        )
        found += json.loads(page.data)
        after = page.next
        if after is None:
            return found
    raise AssertionError("the pages do not end")


def facts(engine, event, source=1, **query):
    found, after = [], None
    for _ in range(1000):
        page = reads.read(
            engine,
            lambda c, after=after: reads.select_facts(
                c, event, source, after=after, **query
            ),
        )
        found += json.loads(page.data)
        after = page.next
        if after is None:
            return found
    raise AssertionError("the pages do not end")


def expected_rows(projection, as_of=None):
    """The reference's rows in their JSON form, by key."""
    spec = projection.spec
    columns = reads.row_columns(spec)
    folded = reference.fold(projection, HISTORY.all_facts(), as_of=as_of)
    return [
        {
            name: shown(columns[name], value)
            for name, value in (dict(zip(spec.keys, key, strict=True)) | row).items()
        }
        for key, row in sorted(folded.items())
    ]


def shown(column, value):
    if value is None:
        return None
    if column.form is reads.ValueForm.HEX:
        return "0x" + value.hex()
    if column.form is reads.ValueForm.DECIMAL:
        return str(value)
    if column.form is reads.ValueForm.TIME:
        return reference.moment(value)
    return value


def by_key(spec, found):
    return sorted(found, key=lambda row: [row[key] for key in spec.keys])


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda p: p.spec.plural)
@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_all_pages_together_are_the_reference(engine, projection, limit):
    found = rows(engine, projection.spec, limit=limit)

    assert by_key(projection.spec, expected_rows(projection)) == by_key(
        projection.spec, found
    )
    assert len(found) > 3


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda p: p.spec.plural)
def test_as_of_any_block_is_the_reference(engine, projection):
    rng = random.Random(projection.spec.plural)

    for height in [0, HEIGHT, *rng.sample(range(HEIGHT), 6)]:
        found = rows(engine, projection.spec, limit=3, as_of=height)
        expected = by_key(projection.spec, expected_rows(projection, height))
        assert expected == by_key(projection.spec, found)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("as_of", [None, 40])
def test_key_order_is_byte_order(engine, descending, as_of):
    found = rows(engine, Payments.spec, limit=2, descending=descending, as_of=as_of)

    keys = [(row["payer"], int(row["kind"])) for row in found]
    assert sorted(keys, reverse=descending) == keys
    assert len(keys) > 20


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("order", Ranked.spec.index)
def test_sorting_by_a_column_keeps_every_row(engine, order, limit, descending):
    """Rows without a value come last in either direction."""
    found = rows(engine, Ranked.spec, limit=limit, order=order, descending=descending)

    assert by_key(Ranked.spec, expected_rows(Ranked)) == by_key(Ranked.spec, found)
    values = [row[order] for row in found]
    present = [value for value in values if value is not None]
    assert present + [None] * (len(values) - len(present)) == values
    if order in ("raised", "goal"):
        present = [int(value) for value in present]
    if order != "title":  # text sorts as the database's language does
        assert sorted(present, reverse=descending) == present


def test_ties_are_broken_by_key(engine):
    found = rows(engine, Payments.spec, limit=1, order="kind")

    keys = [(int(row["kind"]), row["payer"]) for row in found]
    assert sorted(keys) == keys


def test_large_numbers_survive(engine):
    largest = str(2**256 - 1)

    found = rows(engine, Payments.spec, where={"total": 2**256 - 1})

    assert {largest} == {row["total"] for row in found}
    assert any(int(row["raised"]) > 2**256 for row in rows(engine, Ranked.spec))


def test_filters_narrow_as_python_would(engine):
    everything = expected_rows(Payments)
    payer = ADDRESSES[1]

    assert by_key(
        Payments.spec, [row for row in everything if row["payer"] == shown_key(payer)]
    ) == by_key(Payments.spec, rows(engine, Payments.spec, where={"payer": payer}))
    assert by_key(
        Payments.spec,
        [
            row
            for row in everything
            if row["payer"] == shown_key(payer)
            and 7 <= int(row["total"]) <= 10**18
            and int(row["kind"]) >= 100
        ],
    ) == by_key(
        Payments.spec,
        rows(
            engine,
            Payments.spec,
            limit=1,
            order="total",
            where={
                "payer": payer,
                "total__gte": 7,
                "total__lte": 10**18,
                "kind__gte": 100,
            },
        ),
    )


def shown_key(key):
    return "0x" + key.hex()


def test_a_filter_beyond_the_column_finds_nothing(engine):
    assert [] == rows(engine, Payments.spec, where={"kind": 10**30})
    assert [] == rows(engine, Payments.spec, where={"kind__gte": 10**30})
    assert [] == rows(engine, Payments.spec, as_of=9, where={"kind": 10**30})


def test_filters_by_key_as_of_a_block(engine):
    everything = expected_rows(Payments, as_of=33)
    wanted = shown_key(ADDRESSES[2])

    found = rows(
        engine, Payments.spec, limit=2, as_of=33, where={"payer": ADDRESSES[2]}
    )

    assert [row for row in everything if row["payer"] == wanted] == sorted(
        found, key=lambda row: int(row["kind"])
    )


@pytest.mark.parametrize(
    "query",
    [
        {"where": {"total": 1}, "as_of": 5},
        {"order": "total", "as_of": 5},
        {"where": {"last": 1}},
        {"where": {"payer__gte": b""}},
        {"order": "last"},
        {"as_of": -1},
        {"as_of": 1 << 31},
    ],
)
def test_questions_that_would_not_be_bounded_are_refused(engine, query):
    with pytest.raises(reads.BadQuery):
        rows(engine, Payments.spec, **query)


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda p: p.spec.plural)
@pytest.mark.parametrize("as_of", [None, 25])
def test_one_row(engine, projection, as_of):
    spec = projection.spec
    columns = reads.row_columns(spec)
    for row in expected_rows(projection, as_of)[:5]:
        keys = {key: reads.parse(columns[key], row[key]) for key in spec.keys}

        found = reads.read(
            engine,
            lambda c, keys=keys: reads.select_row(c, spec, 1, keys, as_of=as_of),
        )

        assert row == json.loads(found.data)
        assert found.block.height == (HEIGHT if as_of is None else as_of)


def test_a_row_that_is_not_there(engine):
    found = reads.read(
        engine, lambda c: reads.select_row(c, ledger.Deal.spec, 1, {"deal": b"\0" * 20})
    )

    assert found.data is None
    assert found.block.height == HEIGHT


def test_the_answer_names_its_block(engine):
    page = reads.read(engine, lambda c: reads.select_rows(c, Payments.spec, 1))

    header = HISTORY.header(HEIGHT)
    assert {
        "chain": "first",
        "height": HEIGHT,
        "hash": "0x" + header.hash.hex(),
        "time": reference.moment(header.time),
        "final": False,
        "exact": True,
    } == page.block.as_json()


def test_chains_are_kept_apart(engine):
    first = rows(engine, ledger.Deal.spec)
    second = rows(engine, ledger.Deal.spec, source=2)

    assert first != second
    expected = reference.fold(ledger.Deal, History.of(8, 10).all_facts())
    assert len(expected) == len(second)


def test_a_block_above_the_checkpoint_is_not_answered(engine):
    with pytest.raises(reads.NotYetIndexed) as caught:
        rows(engine, Payments.spec, source=2, as_of=11)

    assert (11, 10) == (caught.value.asked, caught.value.checkpoint)
    assert rows(engine, Payments.spec, source=2, as_of=10) is not None


@pytest.mark.parametrize("event", ledger.EVENTS, ids=lambda e: e.spec.name)
@pytest.mark.parametrize("descending", [False, True])
def test_facts_by_position(engine, event, descending):
    found = facts(engine, event, limit=4, descending=descending)

    expected = [fact_json(f) for f in HISTORY.all_facts() if f.event is event]
    assert (expected[::-1] if descending else expected) == found
    assert expected


def fact_json(fact):
    columns = reads.fact_columns(fact.event)
    row = {
        "height": fact.position >> 32,
        "position": str(fact.position),
        "block_time": reference.moment(fact.block_time),
        "transaction": "0x" + fact.transaction.hex(),
    }
    return row | {
        name: shown(columns[name], value) for name, value in fact.values.items()
    }


def test_facts_are_filtered(engine):
    found = facts(
        engine,
        ledger.Paid,
        limit=2,
        where={"deal": ADDRESSES[0], "height__gte": 10, "height__lte": 50},
    )

    expected = [
        fact_json(f)
        for f in HISTORY.all_facts()
        if f.event is ledger.Paid
        and f.values["deal"] == ADDRESSES[0]
        and 10 <= f.position >> 32 <= 50
    ]
    assert expected == found
    assert expected
    assert [] == facts(engine, ledger.Paid, where={"height__lte": -1})
    assert [] == facts(engine, ledger.Paid, where={"height__gte": 10**30})


def test_facts_as_of_a_block_end_there(engine):
    found = facts(engine, ledger.Paid, as_of=20)

    assert max(row["height"] for row in found) <= 20
    with pytest.raises(reads.NotYetIndexed):
        facts(engine, ledger.Paid, as_of=HEIGHT + 1)


def test_a_cursor_belongs_to_its_query(engine):
    def read(**query):
        return reads.read(
            engine, lambda c: reads.select_rows(c, Payments.spec, 1, limit=2, **query)
        )

    cursor = read().next

    assert read(after=cursor).data != read().data
    for other in (
        {"order": "total"},
        {"descending": True},
        {"as_of": 50},
        {"where": {"payer": ADDRESSES[0]}},
    ):
        with pytest.raises(reads.BadCursor):
            read(after=cursor, **other)


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "W10", "bnVsbA", "WyJhIl0", "A" * 5000, "WyJhIiwxLDJd"]
)
def test_a_mangled_cursor_is_refused(engine, cursor):
    with pytest.raises(reads.BadCursor):
        reads.read(
            engine, lambda c: reads.select_rows(c, Payments.spec, 1, after=cursor)
        )


def test_a_forged_cursor_can_hold_no_other_types(engine):
    from db.reads.cursor import decode_cursor, encode_cursor

    columns = list(reads.row_columns(Payments.spec).values())[:2]
    for forged in ([None, "1"], ["0x00", "1"], [1, 1], ["0x" + "00" * 20, "1.5"]):
        with pytest.raises(reads.BadCursor):
            decode_cursor(encode_cursor("d", forged), "d", columns)


def test_hidden_columns_are_not_shown(engine):
    row = rows(engine, ledger.Progress.spec)[0]

    assert {"deal", "raised", "payers", "stage", "stage_refused"} == set(row)


class TestWhatIsNotIndexed:
    @pytest.fixture
    def writer(self, url, engine):
        writer = create_engine(url)
        yield writer
        writer.dispose()

    def test_before_anything(self, engine, writer):
        source = register(writer, "empty")

        with pytest.raises(reads.NothingIndexed):
            rows(engine, Payments.spec, source=source)
        with pytest.raises(reads.NotYetIndexed) as caught:
            rows(engine, Payments.spec, source=source, as_of=0)
        assert caught.value.checkpoint is None

    def test_rows_beyond_a_gap_are_marked(self, engine, writer):
        """A backfill done out of order: the table is the state at no block."""
        source = register(writer, "gap")
        write(writer, source, HISTORY, BlockRange(0, 20))
        write(writer, source, HISTORY, BlockRange(31, 40))

        page = reads.read(engine, lambda c: reads.select_rows(c, Payments.spec, source))
        assert (20, False) == (page.block.height, page.block.exact)
        past = reads.read(
            engine, lambda c: reads.select_rows(c, Payments.spec, source, as_of=20)
        )
        assert past.block.exact
        assert by_key(Payments.spec, expected_rows(Payments, 20)) == by_key(
            Payments.spec, rows(engine, Payments.spec, source=source, as_of=20)
        )
        # A reader who goes on by position must not be led over the gap.
        found = facts(engine, ledger.Paid, source=source)
        assert max(row["height"] for row in found) <= 20

        write(writer, source, HISTORY, BlockRange(21, 30))
        page = reads.read(engine, lambda c: reads.select_rows(c, Payments.spec, source))
        assert (40, True) == (page.block.height, page.block.exact)

    def test_an_expected_event_that_was_never_read(self, engine, writer):
        """Only the plan knows of it."""
        source = register(writer, "late")
        paid = [s for s in streams(REGISTRY) if s.event.endswith(".Paid")]
        write(writer, source, HISTORY, BlockRange(0, 30), of=paid)
        plan = streams(REGISTRY)

        assert rows(engine, ledger.Deal.spec, source=source)
        with pytest.raises(reads.NothingIndexed):
            rows(engine, ledger.Deal.spec, source=source, plan=plan)
        assert rows(engine, ledger.Payer.spec, source=source, plan=plan)


class Before(Projection):
    """One version of a table."""

    plural = "versions"
    deal = Key()

    paid = Sum(ledger.Paid.amount)


class After(Projection):
    """Another version, whose rows differ."""

    plural = "versions"
    deal = Key()

    paid = Sum(ledger.Paid.amount, where=ledger.Paid.amount >= 50)
    payments = Count(ledger.Paid)


def test_no_read_fails_or_is_empty_while_tables_are_rebuilt(database_url):
    """Neither for the lock nor for a snapshot older than the new table's rows."""
    registries = [Registry.of(ledger.EVENTS, [version]) for version in (Before, After)]
    writer = create_engine(database_url)
    migrate(writer, registries[0])
    source = register(writer, "test")
    write(writer, source, HISTORY, BlockRange(0, HEIGHT), registry=registries[0])
    engine = reads.read_engine(database_url)
    right = []
    for version in (Before, After):
        folded = reference.fold(version, HISTORY.all_facts())
        right.append(
            {"0x" + key.hex(): str(row["paid"]) for (key,), row in folded.items()}
        )
    seen, wrong, done = [0, 0], [], threading.Event()

    def read_on():
        while not done.is_set():
            try:
                page = reads.read(
                    engine, lambda c: reads.select_rows(c, Before.spec, source)
                )
                found = {row["deal"]: row["paid"] for row in json.loads(page.data)}
                seen[right.index(found)] += 1
            except Exception as error:  # a thread's failure must reach the test
                wrong.append(repr(error))

    threads = [threading.Thread(target=read_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for registry in itertools.islice(itertools.cycle(registries[::-1]), 20):
            assert ["versions"] == migrate(writer, registry, drop=True).rebuilt
    finally:
        done.set()
        for thread in threads:
            thread.join()
    engine.dispose()
    writer.dispose()

    assert [] == wrong
    assert min(seen) > 0


def test_a_read_that_waited_for_a_rebuild_sees_the_new_rows(database_url):
    """A snapshot taken before the wait would find the new table empty."""
    registries = [Registry.of(ledger.EVENTS, [version]) for version in (Before, After)]
    writer = create_engine(database_url)
    migrate(writer, registries[0])
    source = register(writer, "test")
    write(writer, source, HISTORY, BlockRange(0, HEIGHT), registry=registries[0])
    engine = reads.read_engine(database_url)
    old = f'state."{state_name(Before.spec)}"'

    def waiting():
        query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return reads.read(engine, lambda c: c.execute(query).scalar_one())

    with ThreadPoolExecutor(2) as pool, writer.connect() as other:
        other.execute(text(f"LOCK TABLE {old} IN ACCESS SHARE MODE"))
        # The views are moved; dropping the old table waits for the other.
        migration = pool.submit(migrate, writer, registries[1])
        wait_until(lambda: waiting() == 1)
        reading = pool.submit(rows, engine, Before.spec, source)
        wait_until(lambda: waiting() == 2)
        other.rollback()
        found = reading.result(20)
        migration.result(20)
    engine.dispose()
    writer.dispose()

    folded = reference.fold(After, HISTORY.all_facts())
    assert {"0x" + key.hex(): str(row["paid"]) for (key,), row in folded.items()} == {
        row["deal"]: row["paid"] for row in found
    }


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_the_engine_cannot_write_and_does_not_wait_for_ever(url, engine):
    with pytest.raises(Exception, match="read-only"):
        reads.read(engine, lambda c: c.execute(text("CREATE TABLE x (y int)")))
    hasty = reads.read_engine(url, statement_timeout_seconds=0.05)
    with pytest.raises(reads.TooSlow):
        reads.read(hasty, lambda c: c.execute(text("SELECT pg_sleep(5)")))
    hasty.dispose()


def test_a_connection_that_died_is_replaced(url, engine):
    single = reads.read_engine(url, pool_size=1)
    query = text("SELECT pg_backend_pid()")
    old = reads.read(single, lambda c: c.execute(query).scalar_one())
    kill = text("SELECT pg_terminate_backend(:pid)")
    reads.read(engine, lambda c: c.execute(kill, {"pid": old}).scalar_one())

    assert old != reads.read(single, lambda c: c.execute(query).scalar_one())
    single.dispose()


def test_a_database_that_is_away_or_other_says_so(url, engine):
    away = reads.read_engine("postgresql://user:secret@127.0.0.1:1/none")
    with pytest.raises(reads.DatabaseAway) as caught:
        reads.read(away, lambda c: c.execute(text("SELECT 1")))
    assert "secret" not in str(caught.value)
    with pytest.raises(reads.SchemaChanged):
        reads.read(engine, lambda c: reads.select_rows(c, Before.spec, 1))
