"""An app over a ledger's history on one chain, or on two."""

import pytest
from sqlalchemy import create_engine

from api.app import create_app
from db import reads, sources
from db.position import BlockRange
from db.schema import migrate
from helpers import servers
from helpers.history import History
from helpers.ledger import REGISTRY
from helpers.tables import streams
from indexer.writer import write_batch

HEIGHT = 30
HISTORY = History.of(3, HEIGHT)


class Ledger:
    """A database to write to, and an app that reads from it."""

    def __init__(self, url, plans=None, registry=REGISTRY):
        self.url = url
        self.writer = create_engine(url)
        self.reader = reads.read_engine(url)
        self.registry = registry
        migrate(self.writer, registry)
        self.app = create_app(self.reader, registry, page_size=3, plans=plans)
        self.client = self.app.test_client()

    def register(self, name):
        with self.writer.begin() as connection:
            row = sources.register(
                connection, name=name, chain_id=f"eip155:{name}", ordinals="rank"
            )
        return row.id

    def write(self, source, history=HISTORY, first=0, last=HEIGHT):
        batch = history.batch(BlockRange(first, last))
        registry = self.registry
        write_batch(self.writer, registry, source, batch, streams(registry))

    def get(self, path, status=200, **options):
        answer = self.client.get(path, **options)
        assert answer.status_code == status, answer.text
        return answer

    def data(self, path):
        return self.get(path).json["data"]

    def close(self):
        self.writer.dispose()
        self.reader.dispose()


@pytest.fixture(scope="module")
def ledger(postgres_url):
    """One chain, read to HEIGHT."""
    with servers.fresh_database(postgres_url) as url:
        found = Ledger(url)
        found.write(found.register("devnet"))
        yield found
        found.close()


@pytest.fixture
def own_ledger(database_url):
    """A database of the test's own, with no chain."""
    found = Ledger(database_url)
    yield found
    found.close()


@pytest.fixture
def history():
    return HISTORY


@pytest.fixture
def ledger_on():
    """Makes further apps, on other databases or with plans."""
    made = []

    def make(url, **options):
        made.append(Ledger(url, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def ledger_class():
    """Ledgers of other declarations."""
    return Ledger
