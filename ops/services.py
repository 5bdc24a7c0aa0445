"""The servers a command needs: those in the settings, or embedded ones of our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from db.engine import connect
from ops.embedded.postgres import EmbeddedPostgres
from ops.embedded.redis import EmbeddedRedis
from ops.settings import Settings


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The database's URL, for as long as the block runs.

    Without one in the settings, the embedded Postgres under `data_dir` is started, or
    joined when another process runs it already.
    """
    if settings.database.url is not None:
        yield str(settings.database.url)
        return
    with EmbeddedPostgres(settings.data_dir) as url:
        yield url


@contextmanager
def engine(settings: Settings, *, pool_size: int = 5) -> Iterator[Engine]:
    """An engine on the database."""
    with database(settings) as url:
        opened = connect(url, pool_size=pool_size)
        try:
            yield opened
        finally:
            opened.dispose()


@contextmanager
def redis(settings: Settings) -> Iterator[str | None]:
    """The URL of Redis, embedded when none is given, None when none is wanted."""
    if not settings.redis.wanted:
        yield None
    elif settings.redis.url is not None:
        yield str(settings.redis.url)
    else:
        with EmbeddedRedis(settings.data_dir) as url:
            yield url
