"""One database for all properties of a module: each begins by forgetting all chains."""

import pytest
from sqlalchemy import create_engine

from db.schema import migrate
from helpers import servers
from helpers.ledger import REGISTRY


@pytest.fixture(scope="module")
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url, pool_size=8)
        migrate(engine, REGISTRY)
        yield engine
        engine.dispose()
