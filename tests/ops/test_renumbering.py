"""`migrate --refetch`: positions that were made by two ways of counting logs."""

import json

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from db import outbox
from db.position import height_of, position
from helpers.bare import (
    ABIS,
    chain_text,
    families,
    play,
    settings_of,
    write_abis,
)
from helpers.rpc import FakeEvmChain, FakeRpcServer
from helpers.servers import engine_on, fresh_database
from ops.cli.main import main
from ops.indexing import declared


@pytest.fixture
def world(tmp_path):
    write_abis(tmp_path)

    class World:
        fake = FakeEvmChain()

        def settings(self, node, database, logs="filtered"):
            return settings_of(
                tmp_path,
                chain_text("main", node.url, logs=logs)
                + families()
                + f'[database]\nurl = "{database}"\n[redis]\nurl = "none"\n',
            )

        def run(self, node, database, *words, answer="", logs="filtered"):
            path = self.settings(node, database, logs).path
            return CliRunner().invoke(
                main, ["--config", str(path), *words], input=answer
            )

        def facts(self, node, database):
            """All facts of the families and the transactions that wrote them."""
            registry = declared(self.settings(node, database))
            found = {}
            with engine_on(database) as engine, engine.connect() as connection:
                for event in registry.events.values():
                    if event.spec.domain not in ABIS:
                        continue
                    query = text(
                        f"SELECT row_to_json(t)::text, xmin::text"
                        f" FROM facts.{event.spec.table} t"
                    )
                    rows = connection.execute(query)
                    found |= {(event.spec.id, row): xmin for row, xmin in rows}
            return found

        def forget_ways(self, database):
            """What an older version did not know: traits, and what nodes do."""
            engine = create_engine(database)
            with engine.begin() as connection:
                connection.execute(text("UPDATE control.source SET traits = '{}'"))
            engine.dispose()

    return World()


def mixed(world, node, database, first, then):
    """Follow with a node that counts in one way, then in the other."""
    node.log_index_per_transaction = first
    play(world.fake, 40, 3)
    world.run(node, database, "migrate")
    assert world.run(node, database, "index", "--once").exit_code == 0
    world.forget_ways(database)
    node.log_index_per_transaction = then
    play(world.fake, 40, 4)
    return world.run(node, database, "index", "--once")


@pytest.mark.parametrize("first", [True, False])
def test_mixed_positions_become_those_of_a_fresh_database(
    world, migrated_url, migrated_template, postgres_url, first
):
    with (
        FakeRpcServer(world.fake) as node,
        fresh_database(postgres_url, migrated_template) as fresh,
    ):
        mixed(world, node, migrated_url, first, not first)
        before = world.facts(node, migrated_url)
        world.run(node, fresh, "migrate")
        world.run(node, fresh, "index", "--once")
        expected = world.facts(node, fresh)
        assert set(before) != set(expected)
        assert len(before) == len(expected)

        moved = min(
            height_of(json.loads(f)["position"]) for _, f in set(before) - set(expected)
        )
        places = {"d.inside": position(moved, 5), "d.before": position(moved, 0) - 1}
        with engine_on(migrated_url) as engine, engine.begin() as connection:
            for name, place in places.items():
                outbox.lock_reaction(connection, 1, name)
                outbox.move_reaction(connection, 1, name, place)

        told = world.run(node, migrated_url, "status")
        doctor = world.run(node, migrated_url, "doctor")
        refused = world.run(node, migrated_url, "migrate", "--refetch", answer="n\n")
        assert set(world.facts(node, migrated_url)) == set(before)
        done = world.run(node, migrated_url, "migrate", "--refetch", answer="y\n")
        after = world.facts(node, migrated_url)
        again = world.run(node, migrated_url, "migrate", "--refetch")
        with engine_on(migrated_url) as engine, engine.begin() as connection:
            for name in places:
                place = outbox.lock_reaction(connection, 1, name)
                assert place == position(moved, 0) - 1
        well = world.run(node, migrated_url, "status")
        verified = world.run(node, migrated_url, "verify")

    assert "run `chainfold migrate --refetch`" in told.output
    assert told.exit_code == 1
    assert "BAD chain main positions: logs were numbered in two ways" in doctor.output
    count = len(set(before) - set(expected))
    assert f"main: {count} facts in " in refused.output
    assert "main: nothing was changed" in refused.output
    assert f"main: {count} facts have another position now" in done.output
    assert set(after) == set(expected)
    untouched = set(before) & set(expected)
    assert untouched
    assert {row: before[row] for row in untouched} == {r: after[r] for r in untouched}
    assert "main: 0 facts have another position now" in again.output
    assert "positions" not in well.output
    assert verified.exit_code == 0


def test_a_chain_that_counts_in_one_way_keeps_every_position(world, migrated_url):
    with FakeRpcServer(world.fake) as node:
        mixed(world, node, migrated_url, False, False)
        before = world.facts(node, migrated_url)
        told = world.run(node, migrated_url, "status")
        done = world.run(node, migrated_url, "migrate", "--refetch")

        assert "main: 0 facts have another position now" in done.output
        assert "positions" not in told.output
        assert world.facts(node, migrated_url) == before


def test_ranks_do_not_depend_on_it(world, migrated_url):
    with FakeRpcServer(world.fake) as node:
        play(world.fake, 10, 3)
        world.run(node, migrated_url, "migrate", logs="all")
        world.run(node, migrated_url, "index", "--once", logs="all")
        said = world.run(node, migrated_url, "migrate", "--refetch", logs="all")

    assert said.exit_code == 0
    assert "main: its positions do not depend on how nodes count logs" in said.output
