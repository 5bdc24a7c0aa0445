"""Real Postgres and Redis for tests: databases made, cloned and dropped."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from psycopg2 import sql
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

# The data goes away with the test session, so losing it to a power cut is fine; losing
# commits to a killed server is not, so synchronous_commit stays on.
TEST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
}


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A short directory path (sockets!) that leaves nothing behind."""
    path = Path(tempfile.mkdtemp(prefix="chainfold-"))
    path.chmod(0o711)  # as root, a server may have to run as nobody
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def plain(url: str) -> str:
    """The URL as libpq wants it."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def create_database(server_url: str, template: str = "template1") -> str:
    """Make a database with a name nobody else has; return its URL."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    _administer(
        server_url,
        sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(template)
        ),
    )
    url = make_url(server_url).set(database=name)
    return url.render_as_string(hide_password=False)


def drop_database(server_url: str, url: str) -> None:
    """Drop a database, with whoever is still connected to it."""
    name = make_url(url).database or ""
    _administer(
        server_url,
        sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)),
    )


@contextlib.contextmanager
def fresh_database(server_url: str, template: str = "template1") -> Iterator[str]:
    """A database for the length of a block."""
    url = create_database(server_url, template)
    try:
        yield url
    finally:
        drop_database(server_url, url)


@contextlib.contextmanager
def engine_on(url: str) -> Iterator[Engine]:
    """An engine that keeps no connection open after the block."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


def _administer(server_url: str, statement: sql.Composed) -> None:
    with contextlib.closing(psycopg2.connect(plain(server_url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
