"""The database is made what the declarations say, beside readers, or refuses."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event as listening
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import schema
from db.control import metadata
from db.coverage import missing
from db.declare import (
    Address,
    Contract,
    Count,
    CountDistinct,
    Event,
    Key,
    Latest,
    Projection,
    Sum,
    Uint,
)
from db.engine import connect, lock_declarations
from db.errors import ChangedEvent, StaleDeclarations, WouldDrop
from db.position import BlockRange
from db.reads.errors import ReadError
from db.reads.rows import select_rows
from db.registry import Registry
from db.schema import check_declarations, ensure_key_indexes, migrate, rebuild
from db.sql.columns import fact_table, state_name
from helpers import servers
from helpers.ledger import abi_event
from helpers.stories import StoryChain, write
from helpers.tables import empty, problems, streams
from indexer.verify import run_verification
from indexer.writer import rewind, write_batch

shop = Contract(
    "Shop",
    abi=[
        abi_event("Paid", deal="address", payer="address", amount="uint256"),
        abi_event("Closed", deal="address", amount="uint256"),
    ],
)
ANNA, BEN = b"\1" * 20, b"\2" * 20


def declared(kind, name, **body):
    base = {"__module__": __name__, "__domain__": "s", "__doc__": f"{name}."}
    return type(kind)(name, (kind,), {**base, **body})


def paid(**more):
    return declared(Event, "Paid", source=shop, deal=Address(), amount=Uint(), **more)


def closed(**more):
    return declared(Event, "Closed", source=shop, deal=Address(), **more)


def deal(event, **more):
    return declared(Projection, "Deal", deal=Key(), total=Sum(event.amount), **more)


PAID, CLOSED = paid(), closed()
ONE = Registry.of([PAID, CLOSED], [deal(PAID)])
TWO = Registry.of([PAID, CLOSED], [deal(PAID, payments=Count(PAID))])


@pytest.fixture
def chain():
    chain = StoryChain()
    for amount in (5, 7):
        chain.emit(PAID, deal=ANNA, amount=amount)
        chain.emit(CLOSED, deal=ANNA)
        chain.mine()
    return chain


@pytest.fixture
def source(db_engine, chain):
    """A database that holds what the chain said, as ONE declares it."""
    migrate(db_engine, ONE)
    source = empty(db_engine)
    write(db_engine, ONE, source, chain)
    return source


def scalar(engine, query):
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar()


def column(engine, query):
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


RELATIONS = (
    "SELECT c.oid::text || c.relfilenode || c.relname FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE nspname IN ('facts', 'state', 'public', 'control') ORDER BY 1"
)
STATE_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'state' ORDER BY 1"


def test_migrating_twice_changes_nothing(db_engine):
    registry = Registry.load()
    first = migrate(db_engine, registry)
    before = column(db_engine, RELATIONS)

    second = migrate(db_engine, registry)

    assert {*registry.events, *registry.projections} == set(first.created)
    assert [[], [], [], []] == [
        second.created, second.rebuilt, second.emptied, second.dropped
    ]  # fmt: skip
    assert before == column(db_engine, RELATIONS)


def test_two_processes_may_migrate_at_once(db_engine):
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: migrate(db_engine, ONE), range(3)))

    made = [name for report in reports for name in report.created]
    assert ["deals", "s.Closed", "s.Paid"] == sorted(made)


def test_the_control_tables_are_those_of_the_migrations(migrated_engine):
    def ours(item, name, kind, reflected, compared):
        return kind != "table" or item.schema == "control"

    with migrated_engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_object": ours,
                "version_table_schema": "control",
                "compare_server_default": True,
            },
        )
        difference = compare_metadata(context, metadata)

    assert [] == difference


def test_a_changed_projection_is_rebuilt_from_facts(db_engine, source):
    old = column(db_engine, STATE_TABLES)

    report = migrate(db_engine, TWO)

    assert (["deals"], [], []) == (report.rebuilt, report.created, report.emptied)
    assert (12, 2) == (
        scalar(db_engine, "SELECT total FROM public.deals"),
        scalar(db_engine, "SELECT payments FROM public.deals"),
    )
    assert [state_name(TWO.projections["deals"].spec)] == column(
        db_engine, STATE_TABLES
    )
    assert old != column(db_engine, STATE_TABLES)


def test_a_row_expression_changes_the_view_alone(db_engine, source):
    before = column(db_engine, STATE_TABLES)
    total = Sum(PAID.amount)
    twice = declared(Projection, "Deal", deal=Key(), total=total, twice=total * 2)

    report = migrate(db_engine, Registry.of([PAID, CLOSED], [twice]))

    assert ([], []) == (report.rebuilt, report.created)
    assert before == column(db_engine, STATE_TABLES)
    assert 24 == scalar(db_engine, "SELECT twice FROM public.deals")


def test_readers_never_fail_while_projections_change(db_engine, postgres_url, source):
    failed, answers = [], []
    stop = threading.Event()

    def read(view, column_):
        while not stop.is_set():
            try:
                found = scalar(db_engine, f"SELECT {column_} FROM {view}.deals")
                answers.append(found)
            except DBAPIError as error:
                failed.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        for view in ("public", "state", "public", "state"):
            pool.submit(read, view, "total")
        for registry in (TWO, ONE) * 6:
            migrate(db_engine, registry, drop=True)
        stop.set()

    assert [] == failed
    assert {12} == set(answers)


def test_views_change_last_so_that_readers_wait_least(db_engine, source):
    more = declared(Projection, "Other", deal=Key(), payments=Count(PAID))
    statements = []

    def remember(connection, cursor, statement, *_):
        statements.append(statement.strip().split("\n")[0])

    listening.listen(db_engine, "before_cursor_execute", remember)
    try:
        migrate(
            db_engine,
            Registry.of([PAID, CLOSED], [TWO.projections["deals"], more]),
        )
    finally:
        listening.remove(db_engine, "before_cursor_execute", remember)

    built = [n for n, s in enumerate(statements) if s.startswith("INSERT INTO state.")]
    dropped = [n for n, s in enumerate(statements) if s.startswith("DROP VIEW")]
    assert 2 == len(built)
    assert max(built) < min(dropped)


def test_a_changed_event_is_refused_with_the_remedy(db_engine, source):
    changed = paid(payer=Address())

    with pytest.raises(ChangedEvent, match=r"chainfold migrate --refetch s\.Paid`"):
        migrate(db_engine, Registry.of([changed, CLOSED], [deal(changed)]))

    assert 12 == scalar(db_engine, "SELECT total FROM public.deals")


@pytest.mark.parametrize("name", ["s.Paid", "Paid"])
def test_refetching_empties_the_event_and_what_was_folded_from_it(
    db_engine, source, chain, name
):
    changed = paid(payer=Address())
    count = declared(Projection, "Ending", deal=Key(), closings=Count(CLOSED))
    migrate(db_engine, Registry.of([PAID, CLOSED], [deal(PAID), count]))
    registry = Registry.of([changed, CLOSED], [deal(changed), count])

    report = migrate(db_engine, registry, refetch=[name])

    assert (["s.Paid"], ["deals"]) == (report.emptied, report.rebuilt)
    assert 0 == scalar(db_engine, "SELECT count(*) FROM public.s_paid")
    assert 0 == scalar(db_engine, "SELECT count(*) FROM public.deals")
    assert 2 == scalar(db_engine, "SELECT count(*) FROM public.s_closed")
    assert 2 == scalar(db_engine, "SELECT closings FROM public.endings")
    within = BlockRange(0, chain.height)
    with db_engine.connect() as connection:
        gaps = missing(connection, source, streams(registry), within)
    assert {"s.Paid": [within]} == {s.event: ranges for s, ranges in gaps.items()}

    retold = StoryChain()
    for fact in chain.facts:
        if fact.event is PAID:
            retold.emit(changed, payer=BEN, **fact.values)
    only = [s for s in streams(registry) if s.event == "s.Paid"]
    write_batch(db_engine, registry, source, retold.batch(BlockRange(0, 0)), only)
    assert 12 == scalar(db_engine, "SELECT total FROM public.deals")


def test_readers_see_the_old_facts_and_rows_until_a_refetch_is_done(
    db_engine, source, chain
):
    """A reader that waited for rows to be folded would be cut off by its time limit."""
    changed = paid(payer=Address())
    count = declared(Projection, "Ending", deal=Key(), closings=Count(CLOSED))
    both = declared(
        Projection, "Deal", deal=Key(), total=Sum(changed.amount), ends=Count(CLOSED)
    )
    seen = []

    def look(connection, cursor, statement, *_):
        if not statement.startswith("INSERT INTO state."):
            return
        with db_engine.connect() as reader:
            reader.execute(text("SET statement_timeout = '5s'"))
            for query in (
                "SELECT total FROM public.deals", "SELECT total FROM state.deals",
                "SELECT sum(amount) FROM public.s_paid",
                "SELECT sum(amount) FROM facts.s_paid",
                "SELECT count(*) FROM control.coverage WHERE blocks = '{}'",
            ):  # fmt: skip
                seen.append(reader.execute(text(query)).scalar())

    listening.listen(db_engine, "before_cursor_execute", look)
    try:
        registry = Registry.of([changed, CLOSED], [both, count])
        migrate(db_engine, registry, refetch=["Paid"])
    finally:
        listening.remove(db_engine, "before_cursor_execute", look)

    assert [12, 12, 12, 12, 0] * 2 == seen
    assert (0, 2) == (
        scalar(db_engine, "SELECT total FROM public.deals"),
        scalar(db_engine, "SELECT ends FROM public.deals"),
    )
    assert scalar(db_engine, "SELECT to_regnamespace('building')") is None
    with db_engine.connect() as connection:
        assert [] == problems(connection, registry)


def test_what_is_read_again_is_said_to_be_missing(db_engine, source, chain):
    """With the streams that are planned, and without them."""
    changed = paid(payer=Address())
    both = declared(
        Projection, "Deal", deal=Key(), total=Sum(changed.amount), ends=Count(CLOSED)
    )
    registry = Registry.of([changed, CLOSED], [both])
    migrate(db_engine, registry, refetch=["Paid"])

    for plan in (streams(registry), None):
        for as_of in (0, None):
            with db_engine.connect() as connection, pytest.raises(ReadError):
                select_rows(connection, both.spec, source, as_of=as_of, plan=plan)


def test_tables_that_change_while_they_are_checked_are_those_of_before_or_after(
    db_engine, source
):
    """A snapshot older than the migration it waited for would see no rows at all."""
    changed = paid(payer=Address())
    other = declared(Projection, "Ending", deal=Key(), closings=Count(CLOSED))
    registry = Registry.of([changed, CLOSED], [deal(changed), other])

    with ThreadPoolExecutor(1) as pool:
        with db_engine.begin() as connection:
            lock_declarations(connection, alone=True)
            found = pool.submit(lambda: list(run_verification(db_engine, registry)))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while not scalar(db_engine, waiting) and not found.done():
                pass
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(schema, "lock_declarations", lambda *_, **__: None)
                migrate(one_connection(connection), registry, refetch=["Paid"])
        verified = found.result(30)

    assert [("deals", []), ("endings", [])] == [
        (each.projection, each.differences) for each in verified
    ]


def one_connection(connection):
    """An engine whose every transaction is a part of one that is not committed yet."""
    return SimpleNamespace(begin=lambda: nullcontext(connection))


def test_an_event_whose_declaration_gives_the_same_projection_is_emptied_too(
    db_engine, source
):
    """The projection's own fingerprint covers what its events store."""
    changed = paid(payer=Address())

    migrate(
        db_engine, Registry.of([changed, CLOSED], [deal(changed)]), refetch=["Paid"]
    )
    migrate(db_engine, ONE, refetch=["Paid"])

    assert 0 == scalar(db_engine, "SELECT count(*) FROM state.deals")


def test_a_removed_projection_is_dropped_and_its_facts_are_kept(db_engine, source):
    counted = deal(PAID, deals=CountDistinct(PAID.amount))
    migrate(db_engine, Registry.of([PAID, CLOSED], [counted]))
    assert 2 == len(column(db_engine, STATE_TABLES))

    with pytest.raises(WouldDrop, match="table deals"):
        migrate(db_engine, Registry.of([PAID, CLOSED]))
    assert 2 == len(column(db_engine, STATE_TABLES))
    report = migrate(db_engine, Registry.of([PAID, CLOSED]), drop=True)

    assert ["deals"] == report.dropped
    assert [] == column(db_engine, STATE_TABLES)
    assert scalar(db_engine, "SELECT to_regclass('public.deals')") is None
    assert scalar(db_engine, "SELECT to_regclass('state.deals')") is None
    assert 2 == scalar(db_engine, "SELECT count(*) FROM facts.s_paid")


def test_an_event_may_take_the_name_of_a_projection_that_is_gone(db_engine):
    migrate(
        db_engine,
        Registry.of([PAID], [declared(Projection, "Row", plural="s_closed",
                                      deal=Key(), n=Count(PAID))]),
    )  # fmt: skip

    migrate(db_engine, ONE, drop=True)

    assert 0 == scalar(db_engine, "SELECT count(*) FROM public.s_closed")


def test_a_migration_that_fails_changes_nothing(db_engine, source):
    before = column(db_engine, RELATIONS)

    def fail(connection, cursor, statement, *_):
        if "CREATE VIEW" in statement:
            raise RuntimeError("the disk is full")

    listening.listen(db_engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(RuntimeError, match="disk is full"):
            migrate(db_engine, TWO)
    finally:
        listening.remove(db_engine, "before_cursor_execute", fail)

    assert before == column(db_engine, RELATIONS)
    assert 12 == scalar(db_engine, "SELECT total FROM public.deals")


LATER = {
    "changed": TWO,
    "added": Registry.of(
        [PAID, CLOSED],
        [ONE.projections["deals"], declared(Projection, "Other", deal=Key(),
                                            n=Count(PAID))],
    ),
    "removed": Registry.of([PAID, CLOSED]),
}  # fmt: skip


@pytest.mark.parametrize("later", LATER)
def test_another_version_s_tables_are_not_written_to(db_engine, source, chain, later):
    migrate(db_engine, LATER[later], drop=True)
    chain.mine()
    chain.emit(PAID, deal=BEN, amount=1)
    batch = chain.batch(BlockRange(chain.height, chain.height))
    before = column(db_engine, "SELECT position FROM public.s_paid ORDER BY 1")

    for act in (
        lambda: write_batch(db_engine, ONE, source, batch, streams(ONE)),
        lambda: rewind(db_engine, ONE, source, 0),
        lambda: rebuild(db_engine, ONE, "deals"),
    ):
        with pytest.raises(StaleDeclarations, match="Run `chainfold migrate`"):
            act()

    assert before == column(db_engine, "SELECT position FROM public.s_paid ORDER BY 1")


def test_a_migration_waits_for_a_write_and_a_write_for_a_migration(db_engine, source):
    with db_engine.begin() as connection, ThreadPoolExecutor(1) as pool:
        check_declarations(connection, ONE)
        migrating = pool.submit(migrate, db_engine, TWO)
        with pytest.raises(TimeoutError):
            migrating.result(timeout=0.3)
        connection.rollback()
        assert ["deals"] == migrating.result(timeout=10).rebuilt

    with (
        db_engine.connect() as connection,
        pytest.raises(StaleDeclarations, match="deals"),
    ):
        check_declarations(connection, ONE)


def test_facts_of_an_event_no_longer_declared_go_with_their_blocks(
    db_engine, source, chain
):
    """Declared again, the event must not meet facts of blocks that are gone."""
    without = Registry.of([PAID], [deal(PAID)])
    migrate(db_engine, without)
    rewind(db_engine, without, source, 1)
    changed = StoryChain(facts=[f for f in chain.facts if f.position >> 32 == 0])
    changed.mine()
    changed.emit(CLOSED, deal=BEN)
    changed.emit(PAID, deal=BEN, amount=1)

    migrate(db_engine, ONE)
    batch = changed.batch(BlockRange(1, 1))
    write_batch(db_engine, ONE, source, batch, streams(ONE))

    closed_ = column(db_engine, "SELECT deal FROM public.s_closed ORDER BY position")
    assert ["0x" + ANNA.hex(), "0x" + BEN.hex()] == closed_


def test_rebuilding_heals_a_table(db_engine, source):
    registry = Registry.of(
        [PAID, CLOSED], [deal(PAID, different=CountDistinct(PAID.amount))]
    )
    migrate(db_engine, registry)
    with db_engine.begin() as connection:
        table = state_name(registry.projections["deals"].spec)
        connection.execute(text(f"UPDATE state.{table} SET total = 0"))
        connection.execute(text(f"DELETE FROM state.{table}__different"))
        assert [] != problems(connection, registry)

    assert 1 == rebuild(db_engine, registry, "deals")

    with db_engine.connect() as connection:
        assert [] == problems(connection, registry)


def test_readers_see_public_and_nothing_else(db_engine, source):
    def read(statement):
        with db_engine.connect() as connection:
            connection.execute(text("SET ROLE chainfold_reader"))
            connection.execute(text(statement))

    read("SELECT * FROM public.deals")
    read("SELECT * FROM public.s_paid")
    migrate(db_engine, TWO)
    read("SELECT payments FROM public.deals")
    for hidden in (
        "SELECT * FROM facts.s_paid",
        "SELECT * FROM state.deals",
        "SELECT * FROM control.source",
        "SELECT control.stage_fold('{}', '', '{}')",
        "CREATE TABLE state.mine ()",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            read(hidden)


INDEXES = (
    "SELECT indexname FROM pg_indexes WHERE schemaname = 'facts'"
    " AND indexname LIKE '%_by_%' ORDER BY 1"
)


def test_facts_are_indexed_by_key_once(db_engine, source):
    assert ["s_paid_by_deal"] == ensure_key_indexes(db_engine, ONE)
    assert [] == ensure_key_indexes(db_engine, ONE)
    assert ["s_paid_by_deal"] == column(db_engine, INDEXES)


def test_an_index_left_invalid_is_made_again(db_engine, source):
    ensure_key_indexes(db_engine, ONE)
    with db_engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE pg_index SET indisvalid = false"
                " WHERE indexrelid = 'facts.s_paid_by_deal'::regclass"
            )
        )

    assert ["s_paid_by_deal"] == ensure_key_indexes(db_engine, ONE)
    assert scalar(
        db_engine,
        "SELECT indisvalid FROM pg_index"
        " WHERE indexrelid = 'facts.s_paid_by_deal'::regclass",
    )


def test_a_process_that_made_indexes_may_still_make_tables(
    db_engine, postgres_url, source
):
    ensure_key_indexes(db_engine, ONE)

    assert set() == set(fact_table(PAID).indexes)
    with servers.fresh_database(postgres_url) as url, servers.engine_on(url) as other:
        migrate(other, ONE)
        assert [] == column(other, INDEXES)


def test_views_carry_the_docstring_and_readable_values(db_engine, source):
    assert "Deal." == scalar(
        db_engine, "SELECT obj_description('public.deals'::regclass)"
    ).removesuffix("]").rpartition(" [")[0]  # fmt: skip
    with db_engine.connect() as connection:
        row = connection.execute(
            text("SELECT * FROM public.s_paid ORDER BY position LIMIT 1")
        ).mappings().one()  # fmt: skip
    assert {
        "chain": "test",
        "height": 0,
        "position": 0,
        "block_time": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "deal": "0x" + ANNA.hex(),
        "amount": 5,
    } == {name: value for name, value in row.items() if name != "transaction"}
    assert 66 == len(row["transaction"])


COLUMN_COMMENTS = """
    SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a
    WHERE a.attrelid = to_regclass(:view) AND a.attnum > 0
"""


def column_comments(engine, view):
    with engine.connect() as connection:
        found = connection.execute(text(COLUMN_COMMENTS), {"view": view})
        return dict(found.all())


def test_every_column_of_a_view_says_what_it_is(db_engine, source):
    deals = column_comments(db_engine, "public.deals")
    paid = column_comments(db_engine, "public.s_paid")

    assert all([*deals.values(), *paid.values()])
    assert "The name of the chain, as in the settings." == deals["chain"]
    assert "Key: Address of 20 bytes." == deals["deal"]
    assert deals["total"].startswith("Sum(Paid.amount).")
    assert PAID.spec.doc.split("\n", 1)[0] in deals["total"]
    assert "Parameter amount: Uint of 256 bits." == paid["amount"]
    assert "The time of the block." == paid["block_time"]


def test_comments_of_columns_follow_the_declarations(db_engine, source):
    with db_engine.begin() as connection:
        for view in ("public.deals", "public.s_paid"):
            connection.execute(text(f"COMMENT ON COLUMN {view}.chain IS 'of old'"))
        connection.execute(text("CREATE VIEW mine AS SELECT 1 AS one"))
        connection.execute(text("COMMENT ON COLUMN mine.one IS 'by hand'"))

    migrate(db_engine, TWO)  # which makes the one view anew, and keeps the other

    deals = column_comments(db_engine, "public.deals")
    paid = column_comments(db_engine, "public.s_paid")
    assert {"The name of the chain, as in the settings."} == {
        deals["chain"], paid["chain"]
    }  # fmt: skip
    assert deals["payments"].startswith("Count(Paid).")
    assert {"one": "by hand"} == column_comments(db_engine, "public.mine")


def test_a_docstring_may_hold_anything(db_engine):
    odd = declared(
        Projection, "Odd", __doc__="It's 100 % \\ :x {y} %s.", deal=Key(),
        last=Latest(PAID.amount),
    )  # fmt: skip

    migrate(db_engine, Registry.of([], [odd]))

    comment = scalar(db_engine, "SELECT obj_description('public.odds'::regclass)")
    assert comment.startswith("It's 100 % \\ :x {y} %s. [")
    assert [] == migrate(db_engine, Registry.of([], [odd])).rebuilt


@pytest.mark.parametrize("words", ["pg_try_advisory_lock", "lock_timeout =", "RESET"])
def test_a_statement_that_fails_keeps_nobody_from_making_indexes(
    db_engine, source, words
):
    """Else a pooled session keeps the lock, or a timeout that is not its own."""
    engine = connect(db_engine.url.render_as_string(hide_password=False))

    def fail(connection, cursor, statement, *others):
        if words in statement:
            listening.remove(engine, "after_cursor_execute", fail)
            raise DBAPIError(statement, None, Exception("cut"))

    listening.listen(engine, "after_cursor_execute", fail)
    with pytest.raises(DBAPIError):
        ensure_key_indexes(engine, ONE)
    with engine.connect() as connection:
        assert "0" == connection.execute(text("SHOW lock_timeout")).scalar()
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND database = (SELECT oid FROM pg_database"
                    " WHERE datname = current_database())")  # fmt: skip
        assert 0 == connection.execute(held).scalar()
    engine.dispose()
