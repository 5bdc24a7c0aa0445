"""Facts and rows of entries are remade from the journal, without reading any chain."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import sources
from db.declare import (
    EVERYONE,
    Count,
    Entry,
    Key,
    Projection,
    Role,
    Sum,
    Text,
    Uint,
    Uuid,
)
from db.errors import StaleDeclarations
from db.journal.append import append
from db.journal.entries import ChangedEntry
from db.journal.head import NoJournal, begin_journal
from db.journal.verify import faults
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate, rebuild
from helpers import ledger
from helpers.history import History
from helpers.journal import (
    ANNA,
    BEN,
    NOW,
    OFFICER,
    REGISTRY,
    Application,
    Applied,
    Decided,
    Turnout,
    apply_,
)
from helpers.tables import problems, streams
from indexer.writer import rewind, write_batch


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    say(db_engine, REGISTRY, apply_(ANNA, 10), apply_(BEN, 5), apply_(ANNA, 1))
    say(db_engine, REGISTRY, Decided(applicant=ANNA, amount=4, reason="half"))
    return db_engine


def say(engine, registry, *entries):
    with engine.begin() as connection:
        for entry in entries:
            append(connection, registry, entry, actor=OFFICER, now=NOW)


def rows(engine, query):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def declared(kind, name, **body):
    base = {"__module__": __name__, "__domain__": "club", "__doc__": f"{name}."}
    return type(kind)(name, (kind,), {**base, **body})


def well(engine, registry):
    with engine.connect() as connection:
        assert [] == problems(connection, registry)
    assert [] == list(faults(engine, registry))


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_dropped_facts_and_rows_come_back(engine, monkeypatch, page):
    monkeypatch.setattr("db.journal.entries._PAGE", page)
    monkeypatch.setattr("db.journal.verify._PAGE", page)
    before = rows(engine, "SELECT * FROM public.applications ORDER BY 2")
    with engine.begin() as connection:
        for name in ("facts.club_applied", "facts.club_decided"):
            connection.execute(text(f"DROP TABLE {name} CASCADE"))
        connection.execute(
            text(
                "DELETE FROM control.declaration WHERE name IN"
                " ('club.Applied', 'club.Decided', 'applications', 'turnouts')"
            )
        )

    migrate(engine, REGISTRY)

    assert before == rows(engine, "SELECT * FROM public.applications ORDER BY 2")
    well(engine, REGISTRY)


def test_a_new_projection_is_folded_from_all_entries(engine):
    total = declared(Projection, "Total", applicant=Key(), paid=Sum(Applied.amount))
    more = Registry.of(REGISTRY.events.values(), [Application, Turnout, total])

    migrate(engine, more)

    wanted = [(ANNA, 11), (BEN, 5)]
    assert wanted == rows(
        engine, "SELECT applicant, paid FROM public.totals ORDER BY 1"
    )
    say(engine, more, apply_(BEN, 1))
    well(engine, more)


def test_an_old_process_may_not_append_what_it_cannot_fold(engine):
    total = declared(Projection, "Total", applicant=Key(), paid=Sum(Applied.amount))
    other = Registry.of(REGISTRY.events.values(), [Application, total])
    migrate(engine, other, drop=True)

    with pytest.raises(StaleDeclarations, match="total"):
        say(engine, REGISTRY, apply_(BEN, 1))


def test_an_entry_that_is_new_elsewhere_stops_nobody(engine):
    noted = declared(Entry, "Noted", applicant=Uuid())
    more = Registry.of([*REGISTRY.events.values(), noted], [Application, Turnout])
    migrate(engine, more)

    say(engine, REGISTRY, apply_(BEN, 1))
    say(engine, more, noted(applicant=BEN))

    assert [] == list(faults(engine, more))
    assert [] == list(faults(engine, REGISTRY))


def test_facts_of_another_type_are_remade(engine):
    """The values fit, so what was said stays as it was said."""
    decided = declared(Entry, "Decided", applicant=Uuid(), amount=Text(), reason=Text())
    count = declared(Projection, "Answer", applicant=Key(), n=Count(decided))
    other = Registry.of([decided], [count])

    report = migrate(engine, other, drop=True)

    assert ["club.Decided"] == report.emptied
    assert [("4",)] == rows(engine, "SELECT amount FROM facts.club_decided")
    assert [] == list(faults(engine, other))


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"applicant": Uuid(), "amount": Uint()}, "reason"),
        ({"applicant": Uuid(), "amount": Uint(), "reason": Uint()}, "whole number"),
    ],
)
def test_what_was_said_cannot_be_declared_away(engine, body, cause):
    other = Registry.of([declared(Entry, "Decided", **body)])

    with pytest.raises(ChangedEntry, match=cause):
        migrate(engine, other, drop=True)

    well(engine, REGISTRY)


def test_a_table_is_rebuilt_and_gone_on_from(engine):
    with engine.begin() as connection:
        name = rows(engine, "SELECT relation FROM control.declaration"
                    " WHERE name = 'applications'")[0][0]  # fmt: skip
        connection.execute(text(f"UPDATE state.\"{name}\" SET amount = 0, status = ''"))

    assert 2 == rebuild(engine, REGISTRY, "applications")

    say(engine, REGISTRY, Decided(applicant=BEN, amount=1, reason="all"))
    well(engine, REGISTRY)


def test_readers_in_sql_see_what_everyone_may_see(engine):
    def read(name):
        with engine.connect() as connection:
            connection.execute(text("SET ROLE chainfold_reader"))
            connection.execute(text(f"SELECT * FROM public.{name}"))

    read("club_decided")
    for name in ("club_applied", "audit_subject_erased", "applications", "turnouts"):
        with pytest.raises(DBAPIError, match="permission denied"):
            read(name)


def test_who_may_read_can_change(engine):
    applied = declared(
        Entry, "Applied", **dict(Applied.spec.fields), readable_by=EVERYONE
    )
    decided = declared(
        Entry, "Decided", **dict(Decided.spec.fields), readable_by=(Role.AUDITOR,)
    )

    report = migrate(engine, Registry.of([applied, decided]), drop=True)

    assert [] == report.emptied
    with engine.connect() as connection:
        connection.execute(text("SET ROLE chainfold_reader"))
        connection.execute(text("SELECT * FROM public.club_applied"))
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text("SELECT * FROM public.club_decided"))


def test_entries_are_appended_while_tables_change(engine):
    """Each append finds the tables of its declarations, or is refused."""
    total = declared(Projection, "Total", applicant=Key(), paid=Sum(Applied.amount))
    more = Registry.of(REGISTRY.events.values(), [Application, Turnout, total])
    stop, refused = threading.Event(), []

    def work(registry):
        done = 0
        while not stop.is_set():
            try:
                say(engine, registry, apply_(ANNA, 1))
                done += 1
            except StaleDeclarations as error:
                refused.append(error)
        return done

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, each) for each in (REGISTRY, more, more)]
        for registry in (more, REGISTRY) * 4:
            migrate(engine, registry, drop=True)
            rebuild(engine, registry, "applications")
        stop.set()
        done = sum(each.result() for each in working)

    migrate(engine, more, drop=True)
    well(engine, more)
    assert 4 + done == rows(engine, "SELECT seq FROM control.journal_head")[0][0]
    assert done > 0
    assert refused


def test_what_was_said_is_not_undone_with_a_chain(db_engine):
    registry = Registry.of(
        [*ledger.REGISTRY.events.values(), *REGISTRY.events.values()],
        [*ledger.REGISTRY.projections.values(), *REGISTRY.projections.values()],
    )
    migrate(db_engine, registry)
    with db_engine.begin() as connection:
        source = sources.register(
            connection, name="edge", chain_id="eip155:1", ordinals="rank"
        ).id
    batch = History.of(3, 10).batch(BlockRange(0, 10))
    write_batch(db_engine, registry, source, batch, streams(ledger.REGISTRY))
    say(db_engine, registry, apply_(ANNA, 10), apply_(BEN, 5))

    assert rewind(db_engine, registry, source, 0) > 0

    well(db_engine, registry)
    assert [(2,)] == rows(db_engine, "SELECT count(*) FROM public.applications")


def test_a_chain_cannot_have_the_journal_s_name(db_engine):
    migrate(db_engine, Registry.of([]))
    with db_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO control.source (name, chain_id, ordinals)"
                " VALUES ('journal', 'eip155:1', 'rank')"
            )
        )

    with (
        pytest.raises(NoJournal, match="another name"),
        db_engine.begin() as connection,
    ):
        begin_journal(connection)
