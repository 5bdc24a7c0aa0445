"""A door for each module of tests, and one of a test's own."""

import pytest

from db.registry import Registry
from helpers import servers
from helpers.door import Door


@pytest.fixture(scope="module")
def door(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        found = Door(url)
        yield found
        found.close()


@pytest.fixture
def own_door(database_url):
    found = Door(database_url, Registry.load())  # what is done is in the journal
    yield found
    found.close()
