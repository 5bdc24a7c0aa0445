"""SQL functions are those of this version's files, whatever the database had."""

import shutil

import pytest
from sqlalchemy import text

from db import fit, functions
from db.declare import Count, Event, Key, Program, Projection, Pubkey
from db.registry import Registry
from db.schema import migrate
from helpers.programs import SHOP

shop = Program("shop", SHOP)


class Sold(Event):
    source = shop
    buyer = Pubkey()


class Buyer(Projection):
    buyer = Key()
    bought = Count(Sold)


REGISTRY = Registry.of([Sold], [Buyer])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of functions of another version, that can be written to."""
    folder = tmp_path / "functions"
    shutil.copytree(functions.DIRECTORY, folder)
    monkeypatch.setattr(functions, "DIRECTORY", folder)
    functions.digests.cache_clear()
    yield folder
    functions.digests.cache_clear()


def test_each_file_makes_the_function_of_its_name(migrated_engine):
    names = "SELECT proname FROM pg_proc WHERE pronamespace = 'control'::regnamespace"
    with migrated_engine.connect() as connection:
        there = set(connection.scalars(text(names)))

        assert set(functions.digests()) == there - {"refuse_change"}
        assert not functions.outdated(connection)


def test_a_changed_file_is_told_and_loaded_by_migrate_alone(db_engine, files):
    migrate(db_engine, REGISTRY)
    reach = files / "sender_reach.sql"
    reach.write_text(
        "CREATE OR REPLACE FUNCTION control.sender_reach(other text) RETURNS text"
        " LANGUAGE sql AS $$ SELECT 'it has 5 % of ' || other $$"
    )
    functions.digests.cache_clear()

    with db_engine.connect() as connection:
        told = fit.examine(connection, REGISTRY).message
    migrate(db_engine, REGISTRY)

    assert "its SQL functions are those of another version" in told
    assert "chainfold migrate" in told
    with db_engine.connect() as connection:
        assert not fit.examine(connection, REGISTRY).message
        query = text("SELECT control.sender_reach('all')")
        assert connection.scalar(query) == "it has 5 % of all"


def test_a_function_that_views_use_is_replaced_under_them(db_engine, files):
    migrate(db_engine, REGISTRY)
    base58 = files / "base58.sql"
    base58.write_text(base58.read_text().replace("xyz", "xzy", 1))
    functions.digests.cache_clear()

    migrate(db_engine, REGISTRY)

    with db_engine.connect() as connection:
        assert connection.scalar(text("SELECT control.base58('\\x39'::bytea)")) == "y"
        assert connection.execute(text("SELECT * FROM buyers")).all() == []
