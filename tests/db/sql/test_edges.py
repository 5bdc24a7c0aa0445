"""Folds at the edges of their types, on a real Postgres, against the reference."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from db.declare import (
    Address,
    Blob,
    Bool,
    Contract,
    Count,
    CountDistinct,
    Event,
    First,
    Int,
    Json,
    Key,
    Latest,
    Max,
    Min,
    Projection,
    Replay,
    Stage,
    Sum,
    Text,
    Uint,
)
from db.position import BlockRange
from db.registry import Registry
from db.schema import migrate
from helpers import servers
from helpers.history import rounds
from helpers.ledger import abi_event
from helpers.stories import StoryChain, write
from helpers.tables import empty, streams
from indexer.writer import write_batch

odd = Contract(
    "Odd",
    abi=[
        abi_event(
            "Said", item="address", words="string", raw="bytes", yes="bool",
            big="uint256", level="int256", small="int64", tree="uint256[]",
        ),
        abi_event("Left", item="address", small="uint8"),
        abi_event("Tagged", branch="address", first="uint8", value="uint8", n="uint8"),
    ],
)  # fmt: skip


class Said(Event):
    """Anything at all was said."""

    source = odd
    item = Address()
    words = Text()
    raw = Blob()
    yes = Bool()
    big = Uint()
    level = Int()
    small = Int(64)
    tree = Json()


class Left(Event):
    """Somebody left."""

    source = odd
    item = Address()
    small = Uint(8)


class Tagged(Event):
    """Fields with the names that a compiler likes for itself."""

    source = odd
    branch = Address()
    first = Uint(8)
    value = Uint(8)
    n = Uint(8)


def collect(state, fact):
    """Remember what was said, but nothing of an empty word."""
    words = getattr(fact, "words", "")
    return [*(state or []), words] if words else state


class Edge(Projection):
    """Every fold of every type it takes."""

    item = Key()

    first_words = First(Said.words)
    last_words = Latest(Said.words)
    least_words = Min(Said.words)
    most_words = Max(Said.words)
    first_raw = First(Said.raw)
    last_raw = Latest(Said.raw)
    first_yes = First(Said.yes)
    last_yes = Latest(Said.yes)
    first_big = First(Said.big)
    last_level = Latest(Said.level)
    least_level = Min(Said.level)
    most_level = Max(Said.level)
    first_small = First(Said.small)
    last_small = Latest(Said.small)
    most_small = Max(Said.small)
    first_tree = First(Said.tree)
    last_tree = Latest(Said.tree)
    total = Sum(Said.big)
    balance = Sum(Said.level, -Said.big)
    different_words = CountDistinct(Said.words)
    different_raw = CountDistinct(Said.raw)
    different_levels = CountDistinct(Said.level, Left.small)
    different_trees = CountDistinct(Said.tree)
    mixed = Latest(Left.small, Said.big)
    ratio = Latest(Said.big // Said.level)
    negative = Count(Said.only(Said.level < 0))
    at_height = Max(Said.height)
    sure = Latest(Said.big > 5)
    tag = Latest({Said: b"\0\xff", Left: b"%s"})

    high = total * total * total
    fifty = last_words == "50%s o'clock \\ :x"
    sign = tag == b"%s"


class Order(Projection):
    """Two moves on one fact are taken in the order they are written."""

    item = Key()

    all = Count(Said)
    stage = Stage(
        ([""], Said.only(Said.yes == True), "yes"),  # noqa: E712
        (["yes"], Said, "done"),
        (["done"], Left, ""),
    )
    said = Replay(collect, Said, Left)


class Twins(Projection):
    """Two values of one fact: the least for First, the greatest for Latest."""

    item = Key()

    first = First({Said: 2, Said.only(Said.big > 5): 1})
    last = Latest({Said.only(Said.big > 5): True, Said: False})


class Names(Projection):
    """Keys and folds with the names that a compiler likes for itself."""

    plural = "a_very_long_plural_that_fills_all_of_the_room"
    branch = Key()
    first = Key()
    value = Key()
    n = Key()

    different_values_of_a_name_that_is_long_1 = CountDistinct(Tagged.position)
    different_values_of_a_name_that_is_long_2 = CountDistinct(Tagged.value)
    stored_n = Count(Tagged)
    kept = Latest(Tagged.n)
    stage = Stage(([""], Tagged, "tagged"))
    stage_first = First(Tagged.height)
    index = ("different_values_of_a_name_that_is_long_1", "n")


class Places(Projection):
    """Each fact is a row."""

    position = Key()

    words = First(Said.words)
    where = First(Said.height)
    transactions = CountDistinct(Said.transaction)


class Doings(Projection):
    """Each transaction is a row."""

    transaction = Key()

    facts = Count(Said)


REGISTRY = Registry.of(
    [Said, Left, Tagged], [Edge, Order, Twins, Names, Places, Doings]
)
ITEMS = [bytes([n]) * 20 for n in (1, 2)]


@pytest.fixture(scope="module")
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, REGISTRY)
        yield engine
        engine.dispose()


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TREES = st.recursive(
    WORDS | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
    ),
    max_leaves=5,
)
SAID = st.fixed_dictionaries(
    {
        "item": st.sampled_from(ITEMS),
        "words": WORDS | st.sampled_from(["", "a", "B", "é", "50%s o'clock \\ :x"]),
        "raw": st.binary(max_size=40),
        "yes": st.booleans(),
        "big": st.sampled_from([0, 5, 6, 2**256 - 1]) | st.integers(0, 2**256 - 1),
        "level": st.integers(-(2**255), 2**255 - 1) | st.integers(-3, 3),
        "small": st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-3, 3),
        "tree": st.lists(TREES, max_size=3),
    }
).map(lambda values: (Said, values))
LEFT = st.fixed_dictionaries(
    {"item": st.sampled_from(ITEMS), "small": st.integers(0, 255)}
).map(lambda values: (Left, values))


@settings(rounds(15))
@given(st.lists(SAID | LEFT, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_values_in_any_order(engine, said, rng):
    chain = told(said)
    source = empty(engine)

    heights = list(range(chain.height + 1))
    rng.shuffle(heights)
    for height in heights:
        batch = chain.batch(BlockRange(height, height))
        write_batch(engine, REGISTRY, source, batch, streams(REGISTRY))
    chain.written = chain.height

    write(engine, REGISTRY, source, chain)


def told(said):
    chain = StoryChain()
    for number, (event, values) in enumerate(said):
        chain.emit(event, **values)
        if number % 2:
            chain.mine()
    return chain


def folded(engine, *said):
    """The rows after these facts, two in a block."""
    return write(engine, REGISTRY, empty(engine), told(said))


def test_sums_outgrow_a_uint256(engine):
    most = 2**256 - 1
    rows = folded(engine, *[(Said, {"item": ITEMS[0], "big": most})] * 9)

    row = rows.of(Edge)[ITEMS[0]]
    assert 9 * most == row["total"]
    assert -9 * most == row["balance"]
    assert (9 * most) ** 3 == row["high"]


def test_text_is_ordered_by_code_point_whatever_the_database_says(engine):
    words = ["b", "B", "é", "z", "", "\U0001f4a9", "a"]
    rows = folded(engine, *[(Said, {"item": ITEMS[0], "words": w}) for w in words])

    row = rows.of(Edge)[ITEMS[0]]
    assert ("", "\U0001f4a9") == (row["least_words"], row["most_words"])
    assert ("b", "a") == (row["first_words"], row["last_words"])


def test_the_character_that_postgres_lacks_is_replaced(engine):
    rows = folded(engine, (Said, {"item": ITEMS[0], "words": "a\0b"}))

    assert "a\ufffdb" == rows.of(Edge)[ITEMS[0]]["last_words"]


def test_values_longer_than_an_index_takes_are_counted(engine):
    """Whoever may emit a long text could otherwise stop the indexer."""
    long = random.Random(1).randbytes(50_000).hex()
    words = [long, long + "x", long, "x", ""]
    facts = [
        {"item": ITEMS[0], "words": w, "raw": w.encode(), "tree": [w]} for w in words
    ]
    rows = folded(engine, *[(Said, each) for each in facts])

    row = rows.of(Edge)[ITEMS[0]]
    assert (4, 4, 4) == (
        row["different_words"], row["different_raw"], row["different_trees"]
    )  # fmt: skip


def test_small_and_large_numbers_share_a_column(engine):
    most = 2**256 - 1
    rows = folded(
        engine,
        (Left, {"item": ITEMS[0], "small": 3}),
        (Said, {"item": ITEMS[0], "big": most}),
    )

    assert most == rows.of(Edge)[ITEMS[0]]["mixed"]


def test_a_value_that_is_unknown_is_no_value(engine):
    """A division by zero does not push out the last good one."""
    rows = folded(
        engine,
        (Said, {"item": ITEMS[0], "big": 7, "level": -2}),
        (Said, {"item": ITEMS[0], "big": 7, "level": 0}),
        (Said, {"item": ITEMS[1], "big": 7, "level": 0}),
    )

    assert -3 == rows.of(Edge)[ITEMS[0]]["ratio"]
    assert rows.of(Edge)[ITEMS[1]]["ratio"] is None


def test_a_row_that_no_fact_of_a_fold_made(engine):
    row = folded(engine, (Left, {"item": ITEMS[0]})).of(Edge)[ITEMS[0]]

    assert (0, 0) == (row["total"], row["different_words"])
    assert row["first_words"] is row["last_yes"] is row["first_tree"] is None
    assert row["fifty"] is None


def test_two_moves_on_one_fact_are_taken_as_written(engine):
    rows = folded(engine, (Said, {"item": ITEMS[0], "yes": True}))

    row = rows.of(Order)[ITEMS[0]]
    assert ("done", 0) == (row["stage"], row["stage_refused"])


def test_two_values_of_one_fact(engine):
    rows = folded(engine, (Said, {"item": ITEMS[0], "big": 6}))

    assert {"first": 1, "last": True} == rows.of(Twins)[ITEMS[0]]


def test_a_replay_that_remembers_nothing_is_null(engine):
    rows = folded(engine, (Left, {"item": ITEMS[0]}), (Said, {"item": ITEMS[1]}))

    for item in ITEMS:
        assert rows.of(Order)[item]["said"] is None
    with engine.connect() as connection:
        nulls = connection.execute(text("SELECT count(*) FILTER (WHERE said IS NULL)"
                                        " FROM public.orders")).scalar()  # fmt: skip
    assert 2 == nulls


def test_names_that_the_compiler_uses_are_free_to_declarations(engine):
    said = {"branch": ITEMS[0], "first": 1, "value": 2, "n": 3}
    rows = folded(engine, (Tagged, said), (Tagged, said), (Tagged, {**said, "n": 4}))

    row = rows.of(Names)[ITEMS[0], 1, 2, 3]
    assert 2 == row["different_values_of_a_name_that_is_long_1"]
    assert 1 == row["different_values_of_a_name_that_is_long_2"]
    assert (2, 3, "tagged", 0) == (
        row["stored_n"], row["kept"], row["stage"], row["stage_first"]
    )  # fmt: skip
    assert 2 == len(rows.of(Names))


def test_each_fact_and_each_transaction_may_be_a_row(engine):
    rows = folded(engine, *[(Said, {"item": ITEMS[0], "words": w}) for w in "abc"])

    assert {0: "a", 1: "b", 1 << 32: "c"} == {
        position: row["words"] for position, row in rows.of(Places).items()
    }
    assert 3 == len(rows.of(Doings))


def test_constants_of_row_expressions_reach_the_view_unharmed(engine):
    folded(
        engine,
        (Said, {"item": ITEMS[0], "words": "50%s o'clock \\ :x"}),
        (Left, {"item": ITEMS[0]}),
        (Said, {"item": ITEMS[1], "words": "50"}),
    )

    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT item, fifty, sign, tag FROM public.edges ORDER BY item")
        ).all()
    assert [
        ("0x" + ITEMS[0].hex(), True, True, "0x2573"),
        ("0x" + ITEMS[1].hex(), False, False, "0x00ff"),
    ] == [tuple(row) for row in rows]
