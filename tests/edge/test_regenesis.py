"""A Polygon Edge chain that is wiped and started from the same genesis file."""

from __future__ import annotations

import asyncio

import pytest

from db import sources
from db.schema import migrate
from helpers.servers import engine_on, fresh_database
from indexer.follow import CaughtUp, step
from indexer.reorg import FinalityViolated
from indexer.writer import rewind
from ops.indexing import declared, open_chain
from ops.settings import load_settings

pytestmark = [pytest.mark.chain, pytest.mark.edge]

SETTINGS = """
[chains.edge]
id = "eip155:100"
rpc = {urls}
finality = "ibft"
logs = "{logs}"
"""


def read(settings, engine, registry):
    async def go():
        async with open_chain(settings, "edge", engine, registry) as chain:
            while not isinstance(outcome := await step(chain), CaughtUp):
                pass
            return outcome

    return asyncio.run(go())


@pytest.mark.parametrize("logs", ["all", "filtered"])
def test_a_wiped_chain_is_found_at_once_and_one_rewind_ends_it(
    logs, network, postgres_url, tmp_path
):
    network.wait_for_height(12)
    file = tmp_path / "chainfold.toml"
    urls = "[" + ", ".join(f'"{url}"' for url in network.urls) + "]"
    file.write_text(SETTINGS.format(urls=urls, logs=logs))
    settings = load_settings(str(file))
    registry = declared(settings)
    with fresh_database(postgres_url) as url, engine_on(url) as engine:
        migrate(engine, registry)
        written = read(settings, engine, registry).head
        genesis = network.block(0)["hash"]

        network.wipe()
        assert network.block(0)["hash"] == genesis
        assert network.height() < written.height

        with pytest.raises(FinalityViolated, match="`chainfold rewind edge 1`"):
            read(settings, engine, registry)

        with engine.connect() as connection:
            source = sources.find(connection, "edge").id
        rewind(engine, registry, source, 1)
        with engine.begin() as connection:
            sources.reset_from(connection, source, 1)
        again = read(settings, engine, registry).head
        assert again.hash.hex() == network.block(again.height)["hash"][2:]
