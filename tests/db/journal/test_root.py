"""The root of a day stands for all that was said in it; each entry can be proved."""

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from db import sources
from db.blocks import Header
from db.facts import Fact, columns_from_facts
from db.journal import merkle
from db.journal.anchoring.events import HashAnchored
from db.journal.anchoring.projections import Anchor
from db.journal.anchors import AnchorStatus, check_days
from db.journal.append import append
from db.journal.audit.entries import DayClosed
from db.journal.audit.projections import JournalDay
from db.journal.rebuild import rebuild_facts
from db.journal.root import (
    KIND,
    DayNotOver,
    close_day,
    closed_days,
    day_root,
    days_over,
    inclusion,
    last_day_over,
    subject,
)
from db.journal.verify import faults
from db.position import BlockRange, position
from db.registry import Registry
from db.schema import migrate
from helpers import journal
from helpers.journal import ANNA, OFFICER, apply_
from helpers.tables import problems, streams
from indexer.source import Batch
from indexer.writer import write_batch

REGISTRY = Registry.of(
    [*journal.REGISTRY.events.values(), DayClosed, HashAnchored],
    [*journal.REGISTRY.projections.values(), JournalDay, Anchor],
)
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
OURS, THEIRS = b"\1" * 20, b"\2" * 20


def at(day, hour):
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def h(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def tree(leaves):
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return h()
    if len(leaves) == 1:
        return h(b"\0", leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return h(b"\1", tree(leaves[:k]), tree(leaves[k:]))


@pytest.mark.parametrize("count", range(18))
def test_the_tree_is_that_of_the_standard(count):
    contents = [bytes([number]) for number in range(count)]
    leaves = [merkle.leaf(content) for content in contents]

    assert tree(contents) == merkle.root(leaves)


def test_a_known_tree():
    """The vectors of the certificate-transparency project for three leaves."""
    contents = [b"", b"\x00", b"\x10"]

    found = merkle.root([merkle.leaf(content) for content in contents])

    known = "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert known == found.hex()


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 9, 17])
def test_proofs_hold_for_their_leaf_and_no_other(count):
    contents = [bytes([number]) for number in range(count)]
    leaves = [merkle.leaf(content) for content in contents]
    expected = merkle.root(leaves)
    for index, content in enumerate(contents):
        steps = merkle.proof(leaves, index)
        assert merkle.proves(content, steps, expected)
        assert not merkle.proves(b"other", steps, expected)
        assert not merkle.proves(content, steps, leaves[0][::-1])
        for broken, step in enumerate(steps):
            turned = [*steps]
            turned[broken] = replace(step, left=not step.left)
            assert not merkle.proves(content, turned, expected)
    with pytest.raises(IndexError):
        merkle.proof(leaves, count)


def test_a_node_is_no_leaf():
    leaves = [merkle.leaf(b"a"), merkle.leaf(b"b")]

    assert not merkle.proves(leaves[0] + leaves[1], [], merkle.root(leaves))


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    for day, hours in ((FIRST, (0, 9, 23)), (SECOND, (0, 5))):
        for hour in hours:
            with db_engine.begin() as connection:
                append(
                    connection, REGISTRY, apply_(ANNA, hour), actor=OFFICER,
                    now=at(day, hour),
                )  # fmt: skip
    return db_engine


def close(engine, day, now=None):
    now = now or at(day + timedelta(days=1), 6)
    with engine.begin() as connection:
        return close_day(connection, REGISTRY, day, actor=OFFICER, now=now)


def test_a_day_is_what_was_said_between_two_midnights(engine):
    with engine.connect() as connection:
        first, second = day_root(connection, FIRST), day_root(connection, SECOND)
        assert day_root(connection, date(2026, 2, 28)) is None
        assert FIRST == last_day_over(connection, at(SECOND, 23))
        assert SECOND == last_day_over(connection, at(date(2026, 4, 1), 0))
        assert last_day_over(connection, at(FIRST, 23)) is None
        assert [FIRST, SECOND] == days_over(connection, at(date(2026, 3, 3), 0))
        assert [FIRST] == days_over(connection, at(SECOND, 23))
        assert [SECOND] == days_over(connection, at(date(2026, 3, 5), 1), most=3)

    assert [(1, 3), (4, 5)] == [(d.first, d.last) for d in (first, second)]
    assert first.root != second.root
    assert int(at(SECOND, 0).timestamp()) == first.ended_at


def test_every_entry_is_proved(engine):
    with engine.connect() as connection:
        for seq in range(1, 6):
            found = inclusion(connection, seq)
            assert found.holds
            assert not replace(found, hash=b"\0" * 32).holds
            assert not replace(found, seq=seq + 1).holds
        with pytest.raises(LookupError):
            inclusion(connection, 6)


def test_a_day_is_closed_once_and_nothing_is_said_in_it_afterwards(engine):
    closed = close(engine, FIRST)

    assert closed == close(engine, FIRST, now=at(date(2026, 3, 9), 0))
    with engine.begin() as connection:
        late = append(
            connection, REGISTRY, apply_(ANNA, 1), actor=OFFICER, now=at(FIRST, 12)
        )
    assert late.at.date() == SECOND
    with engine.connect() as connection:
        assert closed == day_root(connection, FIRST)
        assert [closed] == list(closed_days(connection))
        days = connection.execute(text("SELECT day, first, last FROM journal_days"))
        assert [("2026-03-01", 1, 3)] == [tuple(row) for row in days]


def test_a_day_that_is_not_over_stays_open(engine):
    with pytest.raises(DayNotOver, match="tomorrow"):
        close(engine, SECOND, now=at(SECOND, 23))


def test_a_day_without_words_is_not_closed(engine):
    assert close(engine, date(2026, 2, 27)) is None


def anchor(engine, height, day, signer=OURS, **changes):
    """What the chain would say, at a height."""
    with engine.begin() as connection:
        row = sources.register(
            connection, name="edge", chain_id="eip155:1", ordinals="rank"
        )
        about = subject(connection)
    values = {
        "subject": about, "kind": KIND, "signer": signer, "content_hash": day.root,
        "occurred_at": day.ended_at, "reference": day.last_hash, "seq": height,
    }  # fmt: skip
    fact = Fact(HashAnchored, position(height, 0), 77, bytes(32), values | changes)
    blocks = BlockRange(height, height)
    header = Header(height, h(bytes([height])), h(bytes([height - 1])), 77)
    batch = Batch(blocks, [header], columns_from_facts([fact]))
    write_batch(
        engine,
        REGISTRY,
        row.id,
        batch,
        streams(REGISTRY, events=[HashAnchored.spec.id]),
    )


def statuses(engine):
    with engine.connect() as connection:
        return [each.status for each in check_days(connection, OURS)]


def test_days_are_compared_with_the_chain(engine):
    first, second = close(engine, FIRST), close(engine, SECOND)
    assert [AnchorStatus.MISSING] * 2 == statuses(engine)

    anchor(engine, 1, second, signer=THEIRS)
    anchor(engine, 2, first)
    assert [AnchorStatus.ANCHORED, AnchorStatus.MISSING] == statuses(engine)

    anchor(engine, 3, second, content_hash=first.root)
    assert [AnchorStatus.ANCHORED, AnchorStatus.DIFFERS] == statuses(engine)


def test_what_was_changed_with_all_its_hashes_differs_from_the_chain(engine):
    """Somebody with every right writes the whole journal anew."""
    anchor(engine, 1, close(engine, FIRST))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("UPDATE control.journal_entry SET hash = sha256(hash) WHERE seq = 2")
        )

    assert [AnchorStatus.CHANGED] == statuses(engine)


def test_facts_and_rows_are_made_anew(engine):
    close(engine, FIRST)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM facts.club_applied WHERE amount > 5"))
        connection.execute(text("UPDATE facts.audit_day_closed SET first = 9"))
    assert [] != list(faults(engine, REGISTRY))

    made = rebuild_facts(engine, REGISTRY)

    assert (5, 1, 1) == (
        made["club_applied"], made["audit_day_closed"], made["journal_days"]
    )  # fmt: skip
    assert [] == list(faults(engine, REGISTRY))
    with engine.connect() as connection:
        assert [] == problems(connection, REGISTRY)
