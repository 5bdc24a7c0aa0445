"""Factories of contracts in the settings: who announces whom, how often, and undone."""

import pytest
from sqlalchemy import text

from db.schema import migrate, upgrade_control
from helpers.bare import (
    ADDED,
    LISTED,
    MADE,
    MADE_ONE,
    NOTED,
    REGISTRY,
    SPLIT,
    chain_text,
    families,
    follow,
    named,
    notes,
    notes_of,
    play,
    settings_of,
    write_abis,
)
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer
from helpers.servers import engine_on, fresh_database
from ops.indexing import declared

SHOP, OTHER = b"\xb1" * 20, b"\xb2" * 20
VAULTS = [bytes([0xC1 + n]) * 20 for n in range(6)]


@pytest.fixture
def fake():
    return FakeEvmChain()


@pytest.fixture
def world(tmp_path, migrated_engine, fake):
    """Follows the families on a fake chain; gives the notes of all vaults."""
    write_abis(tmp_path)

    class World:
        engine = migrated_engine

        def settings(self, node, logs="all", factories=None):
            said = families() if factories is None else families("", factories)
            return settings_of(tmp_path, chain_text("main", node.url, logs=logs) + said)

        def follow(self, node, span=7, engine=migrated_engine, **said):
            follow(engine, self.settings(node, **said), "main", span=span)
            return notes(engine)

    return World()


@pytest.mark.parametrize("logs", ["all", "filtered"])
@pytest.mark.parametrize("seed", range(3))
def test_every_way_to_announce_a_child_is_followed(world, fake, logs, seed):
    play(fake, 60, seed)
    with FakeRpcServer(fake, **EDGE) as node:
        assert world.follow(node, logs=logs) == notes_of(fake) != []
        play(fake, 15, seed + 100)
        assert world.follow(node, logs=logs, span=100) == notes_of(fake)


def test_each_parameter_and_list_and_overload_announces_its_own(world, fake):
    fake.mine(named(ADDED, REGISTRY, SHOP))
    fake.mine(named(MADE, SHOP, VAULTS[0], VAULTS[1], 7))
    fake.mine(named(MADE_ONE, SHOP, VAULTS[2]))
    fake.mine(named(LISTED, SHOP, "two", [1, 2], VAULTS[3:5]))
    fake.mine(named(SPLIT, VAULTS[4], VAULTS[5]))
    fake.mine(*(named(NOTED, vault, n) for n, vault in enumerate(VAULTS)))
    fake.mine(named(NOTED, OTHER, 9))

    with FakeRpcServer(fake) as node:
        found = world.follow(node)

    assert found == [(6, vault, n) for n, vault in enumerate(VAULTS)]


def test_a_child_announced_twice_counts_from_the_first_and_outlives_the_second(
    world, fake
):
    fake.mine(named(ADDED, REGISTRY, SHOP))
    fake.mine(named(NOTED, VAULTS[0], 1), named(LISTED, SHOP, "", [1, 2], VAULTS[:1]))
    fake.mine(named(MADE, SHOP, VAULTS[0], VAULTS[0], 1), named(NOTED, VAULTS[0], 2))

    with FakeRpcServer(fake) as node:
        assert world.follow(node) == [(2, VAULTS[0], 1), (3, VAULTS[0], 2)]
        fake.rewrite(3, named(NOTED, VAULTS[0], 3))
        assert world.follow(node) == [(2, VAULTS[0], 1), (3, VAULTS[0], 3)]
        fake.rewrite(2, named(NOTED, VAULTS[0], 4))
        assert world.follow(node) == []
        fake.mine(named(MADE_ONE, SHOP, VAULTS[0]), named(NOTED, VAULTS[0], 5))
        assert world.follow(node) == [(4, VAULTS[0], 5)]


@pytest.mark.parametrize("seed", range(3))
def test_undone_blocks_undo_their_announcements(world, fake, seed):
    play(fake, 30, seed)
    with FakeRpcServer(fake) as node:
        world.follow(node)
        for round_ in range(3):
            fake.reorg(9, 0)
            play(fake, 12, 10 * seed + round_)
            assert world.follow(node) == notes_of(fake)


@pytest.mark.parametrize(
    ("event", "param"),
    [("Made(address)", "arg0"), ("Made(address,address,uint256)", "second")],
)
def test_what_an_added_factory_announced_long_ago_is_read(world, fake, event, param):
    """Another event, or another parameter of the same event."""
    first = f'{{ contract = "shop", event = "{event}", param = "{param}" }}'
    play(fake, 50, 1)
    with FakeRpcServer(fake) as node:
        before = world.follow(node, factories=first)
        after = world.follow(node)

    assert set(before) < set(after)
    assert after == notes_of(fake)


def test_coverage_by_the_event_alone_is_renamed(world, fake):
    """As older versions kept it; an event with two fields is read again."""
    play(fake, 10, 1)
    made, listed = "shop.Made_", "shop.Listed.vaults"
    old_names = text(
        "UPDATE control.coverage SET"
        " event = regexp_replace(event, '^(children:.*)[.].*$', '\\1'),"
        " filter = regexp_replace(filter, '^(factory:.*)[.].*$', '\\1')"
        " WHERE (event || filter) NOT LIKE '%.first'"
    )
    names = text("SELECT DISTINCT event || filter FROM control.coverage")
    with FakeRpcServer(fake) as node:
        world.follow(node)
        with world.engine.begin() as connection:
            before = set(connection.execute(names).scalars())
            connection.execute(old_names)
            version = text("UPDATE control.alembic_version SET version_num = :to")
            head = connection.scalar(text("SELECT * FROM control.alembic_version"))
            connection.execute(version, {"to": "0025"})
            upgrade_control(connection, declared(world.settings(node)), "0027")
            connection.execute(version, {"to": head})
        migrate(world.engine, declared(world.settings(node)))

        with world.engine.connect() as connection:
            after = set(connection.execute(names).scalars())
        assert {f"children:{listed}", f"vault.Notedfactory:{listed}"} < after
        assert {n for n in before if made not in n} < after
        assert world.follow(node) == notes_of(fake)


def test_two_histories_read_in_another_order_are_one(world, fake, postgres_url):
    play(fake, 40, 5)
    with FakeRpcServer(fake) as node, fresh_database(postgres_url) as url:
        world.follow(node, span=3)
        with engine_on(url) as other:
            assert world.follow(node, span=40, engine=other) == notes(world.engine)
