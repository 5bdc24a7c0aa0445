"""The servers a command needs: those in the settings, or embedded ones of our own."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, make_url

from db.engine import connect
from ops.embedded.postgres import EmbeddedPostgres, has_data
from ops.embedded.redis import EmbeddedRedis
from ops.embedded.supervisor import EmbeddedError
from ops.errors import OperationError
from ops.settings import FILE, Settings

WATCH_SECONDS = 0.5

log = logging.getLogger(__name__)


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The database's URL, for as long as the block runs; raises OperationError.

    Without one in the settings, the embedded Postgres under `data_dir` is started, or
    joined when another process runs it already.
    """
    if settings.database.url is not None:
        yield str(settings.database.url)
        return
    if settings.database.read_url is not None:
        raise OperationError(
            "with these settings the database may only be read: they have [database] "
            "read_url and no url. Add url (or CHAINFOLD_DATABASE_URL) to change it."
        )
    server = EmbeddedPostgres(settings.data_dir)
    with server as url, _kept(server, url):
        yield url


@contextmanager
def readable_database(settings: Settings) -> Iterator[str]:
    """The URL to read from, for as long as the block runs; raises OperationError.

    No embedded Postgres is made for somebody who only wants to look: without data
    there is nothing to see.
    """
    if settings.database.read_url is not None:
        yield str(settings.database.read_url)
        return
    if settings.database.embedded and not has_data(settings.data_dir):
        raise OperationError(nothing_here(settings))
    with database(settings) as url:
        yield url


def nothing_here(settings: Settings) -> str:
    """Return that there is no database yet, with the remedy."""
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        return (
            f"{settings.data_dir} is no directory. Set data_dir in {FILE} (or "
            "CHAINFOLD_DATA_DIR) to one where this user may write."
        )
    if settings.path is None:
        return (
            f"no {FILE} here, and no database in {settings.data_dir}: go to the folder "
            "that has them, or say --config. `chainfold demo` shows an example; "
            "`chainfold devnet up` writes settings."
        )
    return (
        f"no database in {settings.data_dir} yet: nothing was indexed with "
        f"{settings.path}. Run `chainfold run`, or set [database] url."
    )


@contextmanager
def _kept(server: EmbeddedPostgres, url: str) -> Iterator[None]:
    """Start the server again if it ends while we need it.

    It belongs to the process that started it, which may be a short one that we joined.
    """
    address = make_url(url)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_SECONDS):
            if server.owner or _listens(str(address.host), int(address.port or 0)):
                continue
            try:
                server.start()
            except EmbeddedError as error:
                log.warning("postgres_not_restarted error=%s", error)

    thread = threading.Thread(target=watch, name="embedded-postgres-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def engine(settings: Settings, *, pool_size: int = 5) -> Iterator[Engine]:
    """An engine on the database."""
    with database(settings) as url, _disposed(connect(url, pool_size=pool_size)) as it:
        yield it


@contextmanager
def read_only_engine(settings: Settings) -> Iterator[Engine]:
    """An engine that cannot write, on the database that is read from."""
    with (
        readable_database(settings) as url,
        _disposed(connect(url, read_only=True)) as opened,
    ):
        yield opened


@contextmanager
def _disposed(opened: Engine) -> Iterator[Engine]:
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
