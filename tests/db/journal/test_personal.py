"""Values about a person are readable with their key, and by nobody without it."""

import threading
from datetime import timedelta

import pytest
from cryptography.exceptions import InvalidTag
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.journal.append import append
from db.journal.keys import Erased
from db.journal.personal import erase, erase_again, read_personal
from db.journal.verify import faults
from db.schema import migrate
from helpers.journal import ANNA, BEN, NOW, OFFICER, REGISTRY, Decided, apply_

SECRET = "Wilhelmina Quetzalcoatl"


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def say(engine, *entries):
    with engine.begin() as connection:
        for entry in entries:
            append(connection, REGISTRY, entry, actor=OFFICER, now=NOW)


def forget(engine, subject):
    with engine.begin() as connection:
        return erase(connection, REGISTRY, subject, actor=OFFICER, now=NOW)


def values(engine, seq):
    with engine.connect() as connection:
        return read_personal(connection, seq).values


def everything(engine):
    """Every value of every table, as text and as bytes in hex."""
    with engine.connect() as connection:
        names = connection.execute(
            text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname IN ('control', 'facts', 'state', 'public')"
                " UNION SELECT format('%I.%I', schemaname, viewname) FROM pg_views"
                " WHERE schemaname IN ('state', 'public')"
            )
        ).scalars()
        return "\n".join(
            str(connection.execute(text(f"SELECT t::text FROM {name} t")).all())
            for name in list(names)
        )


def planted(engine):
    dump = everything(engine)
    forms = [SECRET, "Quetzalcoatl", SECRET.encode().hex(), b"Quetzalcoatl".hex()]
    return [form for form in forms if form in dump]


def test_they_are_read_back(engine):
    say(engine, apply_(ANNA, 1, full_name=SECRET, age=33), apply_(BEN, 2))
    say(engine, Decided(applicant=ANNA, amount=1, reason=""))

    assert {"full_name": SECRET, "age": "33"} == values(engine, 1)
    assert {} == values(engine, 3)
    with (
        engine.connect() as connection,
        pytest.raises(LookupError, match="no entry 4"),
    ):
        read_personal(connection, 4)


def test_they_are_nowhere_in_clear(engine):
    say(engine, apply_(ANNA, 1, full_name=SECRET), apply_(ANNA, 2, wishes=[SECRET]))

    # What is not declared personal is there, which shows that the search finds things.
    assert [SECRET, "Quetzalcoatl"] == planted(engine)
    say_again = "UPDATE control.journal_entry SET body = body - 'wishes'"
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(say_again))
        connection.execute(text("UPDATE facts.club_applied SET wishes = '[]'"))
    assert [] == planted(engine)


def test_an_erased_person_cannot_be_read_and_the_hashes_still_fit(engine):
    say(engine, apply_(ANNA, 1, full_name=SECRET), apply_(BEN, 2, full_name="Ben"))
    key = "SELECT encode(key, 'hex') FROM control.subject_key WHERE subject = :who"
    with engine.connect() as connection:
        known = connection.execute(text(key), {"who": ANNA}).scalar_one()

    done = forget(engine, ANNA)

    assert 3 == done.seq
    assert values(engine, 1) is None
    assert {"full_name": "Ben", "age": "40"} == values(engine, 2)
    with engine.connect() as connection:
        assert read_personal(connection, 1).values is None
    assert [] == list(faults(engine, REGISTRY))
    dump = everything(engine)
    assert known not in dump
    assert SECRET not in dump
    assert forget(engine, ANNA) is None


def test_nothing_is_kept_of_an_erased_person_again(engine):
    forget(engine, ANNA)

    with pytest.raises(Erased, match="was erased"):
        say(engine, apply_(ANNA, 1))

    say(engine, Decided(applicant=ANNA, amount=1, reason=""))
    assert [] == list(faults(engine, REGISTRY))


def test_an_erasure_undone_erases_nothing(engine):
    say(engine, apply_(ANNA, 1, full_name=SECRET))
    with engine.connect() as connection:
        erase(connection, REGISTRY, ANNA, actor=OFFICER, now=NOW)
        connection.rollback()

    assert SECRET == values(engine, 1)["full_name"]


def test_ciphertexts_cannot_be_exchanged(engine):
    say(engine, apply_(ANNA, 1, full_name=SECRET), apply_(ANNA, 1, full_name="Anna"))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text(
                "UPDATE control.journal_entry SET personal = (SELECT personal FROM"
                " control.journal_entry WHERE seq = 1) WHERE seq = 2"
            )
        )

    with pytest.raises(InvalidTag):
        values(engine, 2)


def test_one_person_has_one_key_however_many_write_of_them_first(engine):
    start = threading.Barrier(3)

    def work():
        start.wait()
        say(engine, apply_(ANNA, 1, full_name=SECRET))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [SECRET] * 3 == [values(engine, seq)["full_name"] for seq in (1, 2, 3)]


def test_keys_from_an_older_backup_are_deleted_again(engine):
    say(engine, apply_(ANNA, 1, full_name=SECRET), apply_(BEN, 1))
    with engine.connect() as connection:
        query = text("SELECT * FROM control.subject_key")
        backup = [dict(row) for row in connection.execute(query).mappings()]
    forget(engine, ANNA)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM control.subject_key"))
        insert = (
            "INSERT INTO control.subject_key VALUES (:subject, :key, :made_at, NULL)"
        )
        connection.execute(text(insert), backup)
    assert SECRET == values(engine, 1)["full_name"]

    with engine.begin() as connection:
        assert [ANNA] == erase_again(connection, NOW + timedelta(days=1))

    assert values(engine, 1) is None
    assert values(engine, 2) is not None
    with engine.begin() as connection:
        assert [] == erase_again(connection, NOW)


def test_a_key_is_deleted_or_there_never_in_between(engine):
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(
            text("INSERT INTO control.subject_key VALUES ('x', NULL, now(), NULL)")
        )
