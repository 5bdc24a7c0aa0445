"""Remembered blocks: what contradicts them, and what is forgotten."""

import hashlib
import random

import pytest

from db import blocks
from db.blocks import Header, broken_link


def header(height, fork="", parent=None):
    """A block of a chain, or of a fork of it; its parent is of the same one."""
    return Header(
        height,
        hashlib.sha256(f"{height}{fork}".encode()).digest(),
        hashlib.sha256(f"{height - 1}{fork if parent is None else parent}".encode())
        .digest(),
        1000 + 2 * height,
    )  # fmt: skip


@pytest.fixture
def connection(migrated_engine):
    with migrated_engine.begin() as connection:
        yield connection


def remember(connection, *headers, source=1):
    blocks.remember(connection, source, headers)


def test_headers_that_follow_what_is_remembered_break_nothing(connection):
    remember(connection, header(4), header(5))

    for headers in (
        [header(6), header(7)],
        [header(5)],
        [header(3)],
        [header(10), header(12)],
        [],
    ):
        assert broken_link(connection, 1, headers) is None


def test_another_hash_at_the_same_height(connection):
    remember(connection, header(4), header(5))

    assert 5 == broken_link(connection, 1, [header(5, "x", parent="")])
    assert 4 == broken_link(connection, 1, [header(4, "x", parent="")])


def test_a_parent_that_is_not_the_block_below(connection):
    remember(connection, header(5))

    assert 5 == broken_link(connection, 1, [header(6, "x")])
    assert 5 == broken_link(connection, 1, [header(7, "x"), header(6, "x")])


def test_a_block_that_is_not_the_parent_of_the_one_above(connection):
    remember(connection, header(5))

    assert 4 == broken_link(connection, 1, [header(4, "x")])


def test_the_lowest_contradiction_is_named(connection):
    remember(connection, header(2), header(5), header(9))

    heights = [header(h, "x") for h in (9, 5, 3)]
    assert 2 == broken_link(connection, 1, heights)


def test_a_gap_between_remembered_blocks_proves_nothing(connection):
    remember(connection, header(2), header(9))

    assert broken_link(connection, 1, [header(5, "x")]) is None


def test_blocks_of_another_chain_contradict_nothing(connection):
    remember(connection, header(5), source=2)

    assert broken_link(connection, 1, [header(5, "x"), header(6, "x")]) is None


def test_a_block_that_is_remembered_stays_as_it_is(connection):
    remember(connection, header(5))
    remember(connection, header(5, "x"), header(6))

    assert {5: header(5), 6: header(6)} == blocks.stored(connection, 1, [4, 5, 6])
    assert {} == blocks.stored(connection, 1, [])


def test_the_tip_and_those_below_it(connection):
    assert blocks.tip(connection, 1) is None
    remember(connection, *[header(h) for h in (1, 3, 4, 7)])
    remember(connection, header(99), source=2)

    assert header(7) == blocks.tip(connection, 1)
    assert [header(4), header(3)] == blocks.below(connection, 1, 6, 2)
    assert [header(1)] == blocks.below(connection, 1, 2, 10)
    assert [] == blocks.below(connection, 1, 0, 10)


def test_the_time_of_a_height_is_that_of_the_last_block_known(connection):
    remember(connection, header(1), header(4))

    assert 1008 == blocks.time_at(connection, 1, 5)
    assert 1002 == blocks.time_at(connection, 1, 3)
    assert blocks.time_at(connection, 1, 0) is None


def test_forgetting_takes_a_height_and_all_above(connection):
    remember(connection, *[header(h) for h in (1, 3, 4)])
    remember(connection, header(4), source=2)

    blocks.forget_from(connection, 1, 3)

    assert header(1) == blocks.tip(connection, 1)
    assert header(4) == blocks.tip(connection, 2)


@pytest.mark.parametrize("seed", range(40))
def test_contradictions_are_found_whatever_lies_between(connection, seed):
    """Close headers are compared by one range of blocks, sparse ones one by one."""
    dice = random.Random(seed)
    top = dice.choice([8, 60])
    stored = [
        header(n, dice.choice(["", "x"])) for n in range(top) if dice.random() < 0.5
    ]
    remember(connection, *stored)
    heights = dice.sample(range(top), dice.choice([2, 6]))
    headers = [header(n, dice.choice(["", "", "x"])) for n in heights]

    known = {each.height: each for each in stored}
    broken = []
    for each in sorted(headers, key=lambda each: each.height):
        same, lower, upper = (known.get(each.height + by) for by in (0, -1, 1))
        if same is not None and same.hash != each.hash:
            broken.append(each.height)
        elif lower is not None and lower.hash != each.parent_hash:
            broken.append(each.height - 1)
        elif upper is not None and upper.parent_hash != each.hash:
            broken.append(each.height)
    assert broken_link(connection, 1, headers) == (broken[0] if broken else None)
    assert blocks.stored(connection, 1, [*range(top)]) == known
