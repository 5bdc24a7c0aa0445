"""The API as a process of its own, under granian."""

from functools import partial
from typing import Any

from granian import Granian  # type: ignore[attr-defined]
from granian.constants import Interfaces

from api.app import create_app
from db.reads import read_engine
from ops.indexing import declared, streams
from ops.settings import Settings, load_settings

WORKERS = 1
THREADS = 8


def build_app(path: str | None, url: str) -> Any:
    """The WSGI application of one worker process."""
    settings = load_settings(path)
    registry = declared(settings)
    return create_app(
        read_engine(url, pool_size=THREADS),
        registry,
        chains={name: found for name, (_, found) in streams(settings, registry).items()},
        page_size=settings.api.page_size,
    )


def serve_api(settings: Settings, url: str, *, workers: int = WORKERS) -> None:
    """Serve until a signal; returns when the workers have ended."""
    path = None if settings.path is None else str(settings.path)
    server = Granian(
        "chainfold",
        address=settings.api.host,
        port=settings.api.port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=THREADS,
        log_level="warning",
        respawn_failed_workers=True,
        process_name="chainfold-api",
    )
    server.serve(target_loader=partial(_load, path, url), wrap_loader=False)


def _load(path: str | None, url: str, *_: Any) -> Any:
    return build_app(path, url)
