"""Entries are chained, stored and folded in one transaction, or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from db.control import journal_entry
from db.declare import Text, Uuid
from db.journal.append import Actor, UnknownEntry, append
from db.journal.entries import read_entries
from db.journal.head import read_head
from db.journal.verify import faults
from db.schema import migrate
from db.sql.verify import differences
from helpers import reference
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
    facts_of,
)
from helpers.tables import live_rows, rows_as_of


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def say(engine, *entries, now=NOW):
    with engine.begin() as connection:
        return [
            append(connection, REGISTRY, entry, actor=OFFICER, now=now)
            for entry in entries
        ]


def check(engine):
    """Rows, live and as of each entry, are what the reference folds; no fault."""
    assert [] == list(faults(engine, REGISTRY))
    facts = facts_of(engine, REGISTRY)
    with engine.connect() as connection:
        head = read_head(connection)
        for projection in REGISTRY.projections.values():
            expected = reference.fold(projection, facts)
            assert expected == live_rows(connection, projection, head.source)
            assert [] == list(differences(connection, projection.spec))
            for seq in range(head.seq + 1):
                expected = reference.fold(projection, facts, as_of=seq)
                found = rows_as_of(connection, projection, head.source, seq)
                assert expected == found


def test_a_story(engine):
    say(engine, apply_(ANNA, 10), apply_(BEN, 5), apply_(ANNA, 1))
    say(engine, Decided(applicant=ANNA, amount=4, reason="half"))
    say(engine, Decided(applicant=BEN, amount=5, reason="half"), apply_(BEN, 2))

    with engine.connect() as connection:
        source = read_head(connection).source
        rows = live_rows(connection, Application, source)
    anna = rows[ANNA,]
    assert (7, 2, 1, 10) == (
        anna["amount"], anna["times"], anna["reasons"], anna["first"]
    )  # fmt: skip
    assert ("decided", 1) == (anna["status"], anna["status_refused"])
    assert {"n": 3, "last": "Decided"} == anna["log"]
    check(engine)


def test_entries_are_numbered_and_chained(engine):
    done = say(engine, apply_(ANNA, 10)) + say(engine, apply_(BEN, 5), apply_(BEN, 6))

    with engine.connect() as connection:
        rows = list(read_entries(connection))
        genesis = connection.execute(
            text("SELECT genesis FROM control.source WHERE name = 'journal'")
        ).scalar_one()
    assert [1, 2, 3] == [row.seq for row, _ in rows]
    assert [each.hash for each in done] == [row.digest() for row, _ in rows]
    assert [bytes(genesis), done[0].hash, done[1].hash] == [r.previous for r, _ in rows]
    assert (1 << 32) == done[0].position
    assert ("officer", "club", "192.0.2.1", "browser") == (
        rows[0][0].actor, rows[0][0].tenant, rows[0][0].address, rows[0][0].agent
    )  # fmt: skip


def test_time_never_goes_back(engine):
    [late] = say(engine, apply_(ANNA, 1))
    [early] = say(engine, apply_(ANNA, 1), now=NOW - timedelta(hours=1))

    assert late.at == early.at == NOW


def test_what_is_undone_leaves_nothing(engine):
    say(engine, apply_(ANNA, 1))
    with engine.connect() as connection:
        append(connection, REGISTRY, apply_(BEN, 2), actor=OFFICER, now=NOW)
        connection.rollback()

    [next_] = say(engine, apply_(BEN, 3))

    assert 2 == next_.seq
    check(engine)


def test_a_savepoint_undone_leaves_nothing(engine):
    with engine.begin() as connection:
        append(connection, REGISTRY, apply_(ANNA, 1), actor=OFFICER, now=NOW)
        undone = connection.begin_nested()
        append(connection, REGISTRY, apply_(BEN, 2), actor=OFFICER, now=NOW)
        undone.rollback()
        with connection.begin_nested():
            append(connection, REGISTRY, apply_(BEN, 3), actor=OFFICER, now=NOW)

    assert [1, 3] == [fact.values["amount"] for fact in facts_of(engine, REGISTRY)]
    check(engine)


def test_a_connection_that_dies_leaves_nothing(engine):
    say(engine, apply_(ANNA, 1))
    connection = engine.connect()
    transaction = connection.begin()
    append(connection, REGISTRY, apply_(BEN, 2), actor=OFFICER, now=NOW)
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with pytest.raises(DBAPIError):
        transaction.commit()
    connection.invalidate()

    say(engine, apply_(BEN, 3))

    assert [1, 3] == [fact.values["amount"] for fact in facts_of(engine, REGISTRY)]
    check(engine)


def test_many_threads_make_one_chain(engine):
    """Some of them give up in the middle."""
    start = threading.Barrier(4)

    def work(number):
        start.wait()
        for turn in range(12):
            try:
                with engine.begin() as connection:
                    for amount in range(1 + turn % 3):
                        applied = apply_((ANNA, BEN)[turn % 2], amount + number)
                        append(connection, REGISTRY, applied, actor=OFFICER, now=NOW)
                    if turn % 4 == 3:
                        raise RuntimeError
            except RuntimeError:
                continue

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()

    with engine.connect() as connection:
        rows = list(read_entries(connection))
    assert list(range(1, len(rows) + 1)) == [row.seq for row, _ in rows]
    assert 4 * sum(1 + turn % 3 for turn in range(12) if turn % 4 != 3) == len(rows)
    previous = rows[0][0].previous
    for row, digest in rows:
        assert (previous, row.digest()) == (row.previous, digest)
        previous = digest
    check(engine)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE control.journal_entry SET actor = 'x'",
        "DELETE FROM control.journal_entry",
        "TRUNCATE control.journal_entry",
    ],
)
def test_entries_are_never_changed(engine, change):
    say(engine, apply_(ANNA, 1))

    with pytest.raises(DBAPIError, match="never changed"), engine.begin() as connection:
        connection.execute(text(change))


def test_values_without_one_form_are_refused(engine):
    for wishes in ({"a": 0.5}, {1: "a"}, ["\x00"], {"a": {1, 2}}):
        with pytest.raises(ValueError, match="form|NUL|text"):
            say(engine, apply_(ANNA, 1, wishes=wishes))

    with engine.connect() as connection:
        assert [] == connection.execute(select(journal_entry)).all()


def test_a_client_may_call_itself_anything(engine):
    odd = Actor("a", agent="x\x00y\ud800")
    with engine.begin() as connection:
        append(connection, REGISTRY, apply_(ANNA, 1), actor=odd, now=NOW)

    with engine.connect() as connection:
        [(row, digest)] = read_entries(connection)
    assert ("x\ufffdy?", row.digest()) == (row.agent, digest)


def test_entries_check_their_values():
    with pytest.raises(TypeError, match="worth, amount"):
        Applied(applicant=ANNA, worth=1, wishes={}, full_name="A", age=1)
    with pytest.raises(ValueError, match="is not a UUID"):
        Decided(applicant="anna", amount=1, reason="")
    with pytest.raises(ValueError, match="a value is needed"):
        Decided(applicant=ANNA, amount=1, reason=None)


def test_what_is_not_declared_is_refused(engine):
    from db.declare import Entry

    class Other(Entry):
        """Nobody knows it."""

        who = Uuid()
        what = Text()

    with pytest.raises(UnknownEntry, match="not declared"):
        say(engine, Other(who=ANNA, what="?"))


def test_another_migration_empties_nothing(engine):
    say(engine, apply_(ANNA, 1))

    report = migrate(engine, REGISTRY)

    assert [[], [], [], []] == [
        report.created, report.rebuilt, report.emptied, report.dropped
    ]  # fmt: skip
    check(engine)
    assert Turnout.spec.plural == "turnouts"
