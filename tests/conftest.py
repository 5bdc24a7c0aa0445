"""Real servers for every test: nothing is mocked, nothing is left behind."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url

from helpers import servers


def pytest_configure(config: pytest.Config) -> None:
    """Take SIGINT again where the shell ignores it, as it does for `command &`.

    Processes that tests start would inherit that, and no Ctrl-C would end them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Verbs that are run in this process set the level of its logs; put it back."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real Postgres: CHAINFOLD_TEST_DATABASE_URL, or one of our own per worker."""
    given = os.environ.get("CHAINFOLD_TEST_DATABASE_URL")
    if given:
        url = make_url(given).set(drivername="postgresql+psycopg2")
        yield url.render_as_string(hide_password=False)
        return
    from ops.embedded.postgres import EmbeddedPostgres

    with servers.scratch_directory() as directory:
        server = EmbeddedPostgres(directory, settings=servers.TEST_SETTINGS)
        with server as url_text:
            yield url_text


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis: CHAINFOLD_TEST_REDIS_URL, or one of our own per worker."""
    given = os.environ.get("CHAINFOLD_TEST_REDIS_URL")
    if given:
        yield given
        return
    from ops.embedded.redis import EmbeddedRedis

    with servers.scratch_directory() as directory, EmbeddedRedis(directory) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database of the test's own."""
    with servers.fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def db_engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`."""
    with servers.engine_on(database_url) as engine:
        yield engine


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """The name of a database holding our whole schema; clone it, never write to it."""
    from db.registry import Registry
    from db.schema import migrate

    with servers.fresh_database(postgres_url) as url:
        with servers.engine_on(url) as engine:
            migrate(engine, Registry.load())
        yield make_url(url).database or ""


@pytest.fixture
def migrated_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A database of the test's own with our whole schema."""
    with servers.fresh_database(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture
def migrated_engine(migrated_url: str) -> Iterator[Engine]:
    """An engine on `migrated_url`."""
    with servers.engine_on(migrated_url) as engine:
        yield engine
