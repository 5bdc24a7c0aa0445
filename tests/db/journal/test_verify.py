"""Whatever is changed in the journal is found, with the number of the entry."""

import pytest
from sqlalchemy import text

from db.journal.append import append
from db.journal.verify import Fault, faults
from db.schema import migrate
from helpers.journal import (
    ANNA,
    BEN,
    NOW,
    OFFICER,
    REGISTRY,
    Decided,
    apply_,
)

LAST = 5
TRUE_IS_NOT_ONE = (
    """UPDATE facts.club_applied SET wishes = '{"seat": true}'"""
    " WHERE position >> 32 = 4"
)
STRANGER = (
    "INSERT INTO facts.club_decided SELECT source, position + (7::bigint << 32),"
    " block_time, transaction, applicant, amount, reason FROM facts.club_decided"
    " WHERE position >> 32 = 3"
)


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    with db_engine.begin() as connection:
        for entry in (
            apply_(ANNA, 10),
            apply_(BEN, 5),
            Decided(applicant=ANNA, amount=4, reason="half"),
            apply_(BEN, 1, wishes={"seat": 1}),
            Decided(applicant=BEN, amount=4, reason="half"),
        ):
            append(
                connection, REGISTRY, entry, actor=OFFICER, now=NOW, signature=b"\1\2"
            )
    return db_engine


def tamper(engine, statement):
    """Change what is guarded, as somebody with every right could."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        assert connection.execute(text(statement)).rowcount


def found(engine):
    return list(faults(engine, REGISTRY))


def test_nothing_is_wrong_with_what_nobody_touched(engine):
    assert [] == found(engine)


def test_an_empty_journal_is_well(db_engine):
    migrate(db_engine, REGISTRY)

    assert [] == found(db_engine)


@pytest.mark.parametrize(
    "change",
    [
        "at = at + interval '1 microsecond'",
        "kind = 'club.Decided'",
        "actor = 'x'",
        "tenant = ''",
        "address = '192.0.2.2'",
        "agent = ''",
        "signature = NULL",
        "signature = '\\x0103'",
        """body = body || '{"amount": "6"}'""",
        """body = body || '{"more": "6"}'""",
        "body = body - 'wishes'",
        """body = jsonb_set(body, '{wishes}', '{"seat": 1.5}')""",
        f"subject = '{ANNA}'",
        "subject = NULL, personal = NULL",
        "personal = personal || '\\x00'",
        "previous = hash",
        "hash = previous",
    ],
)
def test_every_column_of_an_entry_counts(engine, change):
    tamper(engine, f"UPDATE control.journal_entry SET {change} WHERE seq = 2")

    assert 2 == found(engine)[0].seq


def test_an_entry_changed_with_its_hash_is_found(engine):
    """Even with the block and the fact: the entry after it does not follow."""
    from db.journal.entries import read_entries

    tamper(engine, "UPDATE control.journal_entry SET actor = 'x' WHERE seq = 2")
    with engine.connect() as connection:
        rows = {row.seq: row for row, _ in read_entries(connection)}
    digest = rows[2].digest().hex()
    tamper(
        engine,
        f"UPDATE control.journal_entry SET hash = '\\x{digest}' WHERE seq = 2",
    )
    tamper(
        engine,
        f"UPDATE control.block SET hash = '\\x{digest}' WHERE source + height = 2",
    )
    tamper(
        engine,
        f"UPDATE facts.club_applied SET transaction = '\\x{digest}'"
        " WHERE position >> 32 = 2",
    )

    assert [Fault(3, "does not follow the entry before it")] == found(engine)


@pytest.mark.parametrize("seq", [1, 3, LAST])
def test_an_entry_that_was_taken_out_is_missed(engine, seq):
    tamper(engine, f"DELETE FROM control.journal_entry WHERE seq = {seq}")

    assert seq == found(engine)[0].seq


@pytest.mark.parametrize(
    ("statement", "seq", "what"),
    [
        ("UPDATE facts.club_applied SET amount = 6 WHERE position >> 32 = 2",
         2, "has another fact in club_applied"),
        (TRUE_IS_NOT_ONE, 4, "has another fact in club_applied"),
        ("UPDATE facts.club_applied SET block_time = 1 WHERE position >> 32 = 2",
         2, "has another fact in club_applied"),
        ("DELETE FROM facts.club_applied WHERE position >> 32 = 4",
         4, "has no fact in club_applied"),
        (STRANGER, 10, "is a fact of club_decided without an entry"),
        ("UPDATE control.block SET time = 1 WHERE source = 0 AND height = 3",
         3, "is not the block that control.block has"),
        ("DELETE FROM control.block WHERE source = 0 AND height = 3",
         3, "is not the block that control.block has"),
        ("UPDATE control.journal_head SET seq = 9",
         9, "is not the last entry, as the head says: 5 is"),
        ("UPDATE control.journal_head SET hash = '\\x00'",
         5, "is not the last entry, as the head says: 5 is"),
        ("UPDATE control.source SET head = 4 WHERE id = 0",
         5, "is not the head that control.source has"),
        ("UPDATE control.source SET genesis = '\\x00' WHERE id = 0",
         1, "does not follow the entry before it"),
        ("UPDATE control.coverage SET blocks = '{[0,3)}' WHERE source = 0",
         5, "is not where control.coverage ends"),
        (f"UPDATE control.subject_key SET key = sha256('x') WHERE subject = '{BEN}'",
         2, "has personal values that its key does not open"),
    ],
)  # fmt: skip
def test_what_is_kept_beside_the_entries_is_compared(engine, statement, seq, what):
    tamper(engine, statement)

    assert Fault(seq, what) in found(engine)
    assert seq == found(engine)[0].seq
