"""One follower for a chain, and ranges that only their owner may write."""

import itertools
import os
import random
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from db.errors import LeaseLost
from db.leases import (
    FOLLOWER_SECONDS,
    FollowerLease,
    RangeLease,
    acquire_follower_lease,
    lease_range,
    leased,
    release_leases_of_the_dead,
)
from db.position import BlockRange
from db.processes import is_dead, owner_name, process_name

ME = f"{socket.gethostname()}:{os.getpid()}"


def run(engine, statement, **values):
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def unseen(engine, seconds):
    """The follower was last seen so long ago."""
    run(
        engine,
        "UPDATE control.follower SET seen_at = now() - make_interval(secs => :age)",
        age=seconds,
    )


def expire(engine):
    run(engine, "UPDATE control.lease SET expires_at = now() - interval '1 second'")


def guard(engine, place):
    with engine.begin() as connection:
        place.guard(connection)


def ranges(engine, source=1):
    with engine.connect() as connection:
        return leased(connection, source)


# --- the follower's lease


def test_a_place_is_taken_once_and_its_holder_is_named(migrated_engine):
    first = acquire_follower_lease(migrated_engine, 1)
    second = acquire_follower_lease(migrated_engine, 1)

    assert isinstance(first, FollowerLease)
    assert second.startswith(f"{ME}, since 20")
    assert owner_name() == ME


def test_each_chain_has_a_place_of_its_own(migrated_engine):
    assert isinstance(acquire_follower_lease(migrated_engine, 1), FollowerLease)
    assert isinstance(acquire_follower_lease(migrated_engine, 2), FollowerLease)


def test_a_holder_that_writes_keeps_its_place(migrated_engine):
    place = acquire_follower_lease(migrated_engine, 1)
    unseen(migrated_engine, FOLLOWER_SECONDS + 1)

    guard(migrated_engine, place)

    assert isinstance(acquire_follower_lease(migrated_engine, 1), str)


def test_a_holder_seen_lately_is_not_replaced(migrated_engine):
    acquire_follower_lease(migrated_engine, 1)
    unseen(migrated_engine, FOLLOWER_SECONDS - 5)

    assert isinstance(acquire_follower_lease(migrated_engine, 1), str)


def test_a_holder_not_seen_is_replaced_and_may_not_write_any_more(migrated_engine):
    first = acquire_follower_lease(migrated_engine, 1)
    unseen(migrated_engine, FOLLOWER_SECONDS + 1)

    second = acquire_follower_lease(migrated_engine, 1)

    assert isinstance(second, FollowerLease)
    guard(migrated_engine, second)
    with pytest.raises(LeaseLost, match=r"another process follows.*Start it again"):
        guard(migrated_engine, first)


def test_one_that_lost_its_place_cannot_give_it_up(migrated_engine):
    first = acquire_follower_lease(migrated_engine, 1)
    unseen(migrated_engine, FOLLOWER_SECONDS + 1)
    second = acquire_follower_lease(migrated_engine, 1)

    first.release(migrated_engine)

    guard(migrated_engine, second)


def test_a_place_that_was_left_is_free(migrated_engine):
    acquire_follower_lease(migrated_engine, 1).release(migrated_engine)

    assert isinstance(acquire_follower_lease(migrated_engine, 1), FollowerLease)


def test_of_many_that_want_a_place_one_gets_it(migrated_url):
    engine = create_engine(migrated_url, pool_size=8)
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: acquire_follower_lease(engine, 1), range(8))
            )
        places = [each for each in answers if isinstance(each, FollowerLease)]
        assert 1 == len(places)
        guard(engine, places[0])
        unseen(engine, FOLLOWER_SECONDS + 1)
    engine.dispose()


# --- leases


def test_a_range_is_leased_until_it_is_released(migrated_engine):
    lease = lease_range(migrated_engine, 1, BlockRange(10, 19))

    assert [BlockRange(10, 19)] == ranges(migrated_engine)
    guard(migrated_engine, lease)
    lease.release(migrated_engine)
    assert [] == ranges(migrated_engine)


@pytest.mark.parametrize(
    "other", [(10, 19), (0, 10), (19, 30), (12, 13), (0, 100)], ids=str
)
def test_a_range_that_overlaps_a_lease_is_refused(migrated_engine, other):
    lease_range(migrated_engine, 1, BlockRange(10, 19))

    assert lease_range(migrated_engine, 1, BlockRange(*other)) is None


def test_ranges_that_touch_and_those_of_other_chains_are_free(migrated_engine):
    lease_range(migrated_engine, 1, BlockRange(10, 19))

    for source, first, last in ((1, 0, 9), (1, 20, 20), (2, 10, 19)):
        found = lease_range(migrated_engine, source, BlockRange(first, last))
        assert isinstance(found, RangeLease)
    assert [(0, 9), (10, 19), (20, 20)] == [
        (each.first, each.last) for each in ranges(migrated_engine)
    ]


def test_an_expired_lease_is_taken_over_and_its_owner_may_not_write(migrated_engine):
    first = lease_range(migrated_engine, 1, BlockRange(10, 19))
    expire(migrated_engine)
    assert [] == ranges(migrated_engine)

    second = lease_range(migrated_engine, 1, BlockRange(15, 30))

    assert isinstance(second, RangeLease)
    guard(migrated_engine, second)
    with pytest.raises(
        LeaseLost, match=r"lease of blocks 10..19 expired.*run the back"
    ):
        guard(migrated_engine, first)


def test_an_expired_lease_that_nobody_took_is_renewed_by_writing(migrated_engine):
    first = lease_range(migrated_engine, 1, BlockRange(10, 19))
    expire(migrated_engine)

    guard(migrated_engine, first)

    assert lease_range(migrated_engine, 1, BlockRange(15, 30)) is None


def test_the_leases_of_a_process_that_died_are_freed(migrated_engine, ended):
    lease_range(migrated_engine, 1, BlockRange(0, 9))
    lease_range(migrated_engine, 2, BlockRange(0, 9))
    lease_range(migrated_engine, 1, BlockRange(20, 29))
    run(
        migrated_engine,
        f"UPDATE control.lease SET process = '{ended}' WHERE lower(blocks) = 0",
    )
    run(
        migrated_engine,
        "INSERT INTO control.lease (source, blocks, owner, process, expires_at)"
        " VALUES (1, '[50,60]', 'elsewhere:1', 'boot/pid:[1]/1/1',"
        " now() + interval '1 minute')",
    )

    assert release_leases_of_the_dead(migrated_engine, 1) == 1

    assert [BlockRange(20, 29), BlockRange(50, 60)] == ranges(migrated_engine)
    assert [BlockRange(0, 9)] == ranges(migrated_engine, source=2)


@pytest.fixture
def ended():
    """The name of a process of this host that has ended."""
    return name_of_a_process_that_ended()


def name_of_a_process_that_ended():
    code = "from db.processes import process_name; print(process_name())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_process_is_dead_when_it_has_ended_and_not_before(ended):
    boot, _, mine = process_name().rpartition(f"/{os.getpid()}/")

    assert is_dead(ended)
    assert not is_dead(process_name())
    # The same pid, started at another time: the number was used again.
    assert is_dead(f"{boot}/{os.getpid()}/{int(mine) - 1}")
    # Of another host, of another container, of a version that did not say.
    assert not is_dead("boot/pid:[1]/1/1")
    assert not is_dead(f"{boot}0/1/1")
    assert not is_dead("")


def test_a_dead_holder_of_this_host_is_replaced_at_once(migrated_engine, ended):
    first = acquire_follower_lease(migrated_engine, 1)
    assert isinstance(acquire_follower_lease(migrated_engine, 1), str)
    run(migrated_engine, f"UPDATE control.follower SET process = '{ended}'")

    second = acquire_follower_lease(migrated_engine, 1)

    assert isinstance(second, FollowerLease)
    guard(migrated_engine, second)
    with pytest.raises(LeaseLost):
        guard(migrated_engine, first)


def test_leases_asked_for_all_at_once_are_apart(migrated_url):
    """No deadlock either: Postgres would end one of two that wait for each other."""
    engine = create_engine(migrated_url, pool_size=8)
    rng = random.Random(7)
    for _ in range(20):
        asked = []
        for _ in range(8):
            first = rng.randint(0, 30)
            asked.append(BlockRange(first, first + rng.randint(0, 10)))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda each: lease_range(engine, 1, each), asked))
        held = sorted(lease.blocks for lease in found if lease is not None)
        assert held == ranges(engine)
        for lower, upper in itertools.pairwise(held):
            assert lower.last < upper.first
        for each, lease in zip(asked, found, strict=True):
            if lease is None:
                assert any(h.first <= each.last and each.first <= h.last for h in held)
            else:
                lease.release(engine)
    engine.dispose()
