"""One database for all stories; each begins with an empty one."""

import pytest
from sqlalchemy import create_engine

from db.registry import Registry
from db.schema import migrate
from helpers import servers
from helpers.stories import write
from helpers.tables import empty


@pytest.fixture(scope="module")
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        migrate(engine, Registry.load())
        yield engine
        engine.dispose()


@pytest.fixture
def index(engine):
    """Index what a chain has said since the last time; gives the rows."""
    source = empty(engine)
    registry = Registry.load()
    return lambda chain: write(engine, registry, source, chain)
