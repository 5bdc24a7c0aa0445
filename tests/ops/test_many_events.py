"""Two hundred events take as many questions to Postgres as twenty."""

import asyncio

import pytest
from sqlalchemy import text

from db.errors import TooManyTables
from db.fit import examine as fit_of
from helpers import servers
from helpers.bare import settings_of
from helpers.following import catch_up
from helpers.many import Many, counted, many_settings, mine_each
from helpers.rpc import FakeEvmChain, FakeRpcServer
from helpers.servers import engine_on, fresh_database
from ops.embedded.postgres import EmbeddedPostgres
from ops.indexing import declared, open_chain

FEW, MANY = 20, 200


def both(tmp_path, postgres_url, measure, template="template1"):
    """What is measured with few events, and with many."""
    found = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        with (
            fresh_database(postgres_url, template) as url,
            engine_on(url) as engine,
        ):
            found.append(measure(folder, engine, count))
    return found


def test_migrate_status_and_verify_ask_as_often(tmp_path, postgres_url):
    def measure(folder, engine, count):
        many, sent = Many(folder, engine, count), {}
        verbs = {
            "first": many.migrate,
            "again": many.migrate,
            "fill": many.fill,
            "status": many.status,
            "verify": many.verify,
        }
        for name, verb in verbs.items():
            with counted(engine) as statements:
                verb()
            sent[name] = len(statements)
        return sent

    few, many = both(tmp_path, postgres_url, measure)

    assert many == few
    assert 0 < many["status"] < 20
    assert 0 < many["again"] < 80


@pytest.mark.parametrize("head", [0, 3])
def test_a_range_with_a_fact_of_each_event_asks_as_often(
    tmp_path, postgres_url, migrated_template, head
):
    def measure(folder, engine, count):
        fake = FakeEvmChain()
        settings = many_settings(folder, count)
        for _ in range(head):
            mine_each(fake, settings)

        async def go(registry):
            async with open_chain(settings, "main", engine, registry) as chain:
                with counted(engine) as statements:
                    await catch_up(chain)
                return len(statements)

        with FakeRpcServer(fake) as node:
            said = (folder / "chainfold.toml").read_text()
            settings = settings_of(folder, said.replace("http://127.0.0.1:9", node.url))
            many = Many(folder, engine, count)
            many.settings, many.registry = settings, declared(settings)
            many.migrate()
            sent = asyncio.run(go(many.registry))
        with engine.connect() as connection:
            query = text("SELECT count(*) FROM facts.c1_event9")
            assert connection.execute(query).scalar() == head
        return sent

    few, many = both(tmp_path, postgres_url, measure, migrated_template)

    assert many == few


def test_too_few_locks_for_so_many_tables_is_told_with_the_remedy(tmp_path):
    few = {**servers.TEST_SETTINGS, "max_locks_per_transaction": "10"}
    with servers.scratch_directory() as place:
        with (
            EmbeddedPostgres(place, settings=few) as server,
            servers.engine_on(server) as engine,
        ):
            many = Many(tmp_path, engine, 1000)
            with pytest.raises(TooManyTables, match=r"max_locks_per_transaction = 256"):
                many.migrate()
            with engine.connect() as connection:
                assert fit_of(connection, many.registry).empty
        enough = {**servers.TEST_SETTINGS, "max_locks_per_transaction": "256"}
        with (
            EmbeddedPostgres(place, settings=enough) as server,
            servers.engine_on(server) as engine,
        ):
            many.engine = engine
            many.migrate()
            with engine.connect() as connection:
                assert not fit_of(connection, many.registry).message
