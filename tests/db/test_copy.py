"""Facts go in by binary COPY, whole or not at all, and only once."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from db.copy import copy_facts, delete_facts, insert_missing_facts
from db.declare import (
    Address,
    Blob,
    Bool,
    Bytes32,
    Contract,
    Event,
    FixedBytes,
    Int,
    Json,
    Text,
    Uint,
)
from db.facts import Fact, columns_from_facts
from db.position import position
from db.registry import Registry
from db.schema import migrate
from db.sql.columns import fact_table
from helpers import servers
from helpers.history import rounds
from helpers.ledger import abi_event
from helpers.tables import empty, plain

odd = Contract(
    "Odd",
    abi=[
        abi_event("Fixed", who="address", what="bytes4", amount="uint256",
                  small="int64", yes="bool", key="bytes32", level="int256"),
        abi_event("Joined", who="address", words="string", raw="bytes",
                  tree="uint8[]", amount="uint256", user="bool"),
        abi_event("Bare"),
    ],
)  # fmt: skip


class Fixed(Event):
    """Every field has the same size in every row."""

    source = odd
    who = Address()
    what = FixedBytes(4)
    amount = Uint()
    small = Int(64)
    yes = Bool()
    key = Bytes32()
    level = Int()


class Joined(Event):
    """Some fields have any size; one is named as Postgres's own words are."""

    source = odd
    who = Address()
    words = Text()
    raw = Blob()
    tree = Json()
    amount = Uint()
    user = Bool()


class Bare(Event):
    """It has no field at all."""

    source = odd


REGISTRY = Registry.of([Fixed, Joined, Bare])
ANNA = b"\1" * 20

FIXED = st.fixed_dictionaries(
    {
        "who": st.binary(min_size=20, max_size=20),
        "what": st.binary(min_size=4, max_size=4),
        "amount": st.integers(0, 2**256 - 1),
        "small": st.integers(-(2**63), 2**63 - 1),
        "yes": st.booleans(),
        "key": st.binary(min_size=32, max_size=32),
        "level": st.integers(-(2**255), 2**255 - 1),
    }
)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JOINED = st.fixed_dictionaries(
    {
        "who": st.binary(min_size=20, max_size=20),
        "words": WORDS | st.just("x" * 100_000),
        "raw": st.binary(max_size=50) | st.just(b"\0\\" * 50_000),
        "tree": st.lists(WORDS | st.lists(WORDS, max_size=2), max_size=3),
        "amount": st.integers(0, 2**256 - 1),
        "user": st.booleans(),
    }
)


@pytest.fixture(scope="module")
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, REGISTRY)
        yield engine
        engine.dispose()


@pytest.fixture
def connection(engine):
    empty(engine)
    with engine.connect() as connection:
        connection.begin()
        yield connection


def fact(event, ordinal, **values):
    return Fact(event, position(1, ordinal), 1000, bytes([ordinal % 256]) * 32, values)


def facts(event, *values):
    """Facts at the positions of block 1, by column."""
    found = [fact(event, n, **each) for n, each in enumerate(values)]
    return columns_from_facts(found)[0]


def at(event, *ordinals):
    return columns_from_facts([fact(event, n) for n in ordinals])[0]


def stored(connection, event, source=1):
    table = fact_table(event)
    query = select(table).where(table.c.source == source).order_by("position")
    return [
        {name: plain(value) for name, value in row.items()}
        for row in connection.execute(query).mappings()
    ]


def values_of(rows):
    hidden = ("source", "position", "block_time", "transaction")
    return [{k: v for k, v in row.items() if k not in hidden} for row in rows]


@settings(rounds(30))
@given(values=st.lists(FIXED, min_size=1, max_size=5))
def test_rows_of_a_fixed_size_come_back_as_they_went(connection, values):
    connection.rollback()
    copy_facts(connection, fact_table(Fixed), 1, facts(Fixed, *values))

    assert values == values_of(stored(connection, Fixed))


@settings(rounds(30))
@given(values=st.lists(JOINED, min_size=1, max_size=5))
def test_rows_of_any_size_come_back_as_they_went(connection, values):
    connection.rollback()
    copy_facts(connection, fact_table(Joined), 1, facts(Joined, *values))

    assert values == values_of(stored(connection, Joined))


def test_empty_values_are_values(connection):
    nothing = {"who": ANNA, "words": "", "raw": b"", "tree": [], "amount": 0}
    copy_facts(
        connection, fact_table(Joined), 1, facts(Joined, {**nothing, "user": False})
    )

    assert [{**nothing, "user": False}] == values_of(stored(connection, Joined))


def test_every_fact_has_source_position_time_and_transaction(connection):
    copy_facts(connection, fact_table(Bare), 32_767, at(Bare, 0, 2**32 - 1))

    assert [
        {
            "source": 32_767,
            "position": 1 << 32 | ordinal,
            "block_time": 1000,
            "transaction": bytes([ordinal % 256]) * 32,
        }
        for ordinal in (0, 2**32 - 1)
    ] == stored(connection, Bare, 32_767)


def test_more_rows_than_one_buffer_holds(connection):
    copy_facts(connection, fact_table(Bare), 1, at(Bare, *range(20_000)))

    assert 20_000 == len(stored(connection, Bare))


def test_a_fact_at_a_taken_position_is_refused_as_sqlalchemy_says_it(connection):
    copy_facts(connection, fact_table(Bare), 1, at(Bare, 1, 2))

    with pytest.raises(IntegrityError, match="odd_bare_pk|bare_pk"):
        copy_facts(connection, fact_table(Bare), 1, at(Bare, 2, 3))
    connection.rollback()
    assert [] == stored(connection, Bare)


def test_a_connection_that_is_cut_is_told_as_unavailable(engine, connection):
    pid = connection.connection.dbapi_connection.info.backend_pid
    with engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    with pytest.raises(OperationalError):
        copy_facts(connection, fact_table(Bare), 1, at(Bare, 1))


def test_what_postgres_cannot_hold_is_an_error_of_data(connection):
    nothing = {"who": ANNA, "words": "", "raw": b"", "tree": [], "amount": 0}
    found = facts(Joined, {**nothing, "user": True})
    found.values["tree"][0] = b"\x01" + json.dumps(["\0"]).encode()

    with pytest.raises(DataError):
        copy_facts(connection, fact_table(Joined), 1, found)


# --- facts of which some may be there


def test_only_missing_facts_are_inserted_and_their_positions_told(connection):
    copy_facts(connection, fact_table(Bare), 1, at(Bare, 1, 3))

    added = insert_missing_facts(connection, 1, at(Bare, 1, 2, 3, 4))

    positions = connection.execute(select(added.c.position).order_by("position"))
    assert [1 << 32 | n for n in (2, 4)] == list(positions.scalars())
    assert 4 == len(stored(connection, Bare))


def test_when_none_was_missing_there_is_nothing_to_tell(connection):
    copy_facts(connection, fact_table(Bare), 1, at(Bare, 1, 3))

    assert insert_missing_facts(connection, 1, at(Bare, 1, 3)) is None


def test_facts_of_another_chain_are_not_these(connection):
    copy_facts(connection, fact_table(Bare), 2, at(Bare, 1))

    assert insert_missing_facts(connection, 1, at(Bare, 1)) is not None
    assert 1 == len(stored(connection, Bare, 1))


def test_what_was_staged_is_gone_after_the_transaction(connection):
    for ordinal in (1, 2):
        insert_missing_facts(connection, 1, at(Bare, ordinal))
        connection.commit()

    assert 2 == len(stored(connection, Bare))


def test_facts_are_deleted_from_a_position_on(connection):
    copy_facts(connection, fact_table(Bare), 1, at(Bare, 1, 2, 3))
    copy_facts(connection, fact_table(Bare), 2, at(Bare, 3))

    assert 2 == delete_facts(connection, Bare, 1, position(1, 2))

    assert [1 << 32 | 1] == [row["position"] for row in stored(connection, Bare)]
    assert 1 == len(stored(connection, Bare, 2))
