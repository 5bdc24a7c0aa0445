"""The API as a process of its own, under granian."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from api.app import create_app
from db.reads import read_engine
from ops.embedded.child import die_with_parent
from ops.indexing import declared, streams
from ops.settings import Settings, load_settings

WORKERS = 1
THREADS = 8


def build_app(path: str | None, url: str) -> Any:
    """The WSGI application of one worker process."""
    settings = load_settings(path)
    registry = declared(settings)
    plans = {name: plan for name, (_, plan) in streams(settings, registry).items()}
    return create_app(
        read_engine(url, pool_size=THREADS),
        registry,
        page_size=settings.api.page_size,
        plans=plans,
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
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        process_name="chainfold-api",
    )
    server.serve(target_loader=partial(_load, path, url), wrap_loader=False)


def _load(path: str | None, url: str, *_: Any) -> Any:
    return build_app(path, url)


@contextmanager
def start_api(settings: Settings, url: str) -> Iterator[None]:
    """The API in a process beside this one, which ends it; it also ends with us."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve_quietly, args=(settings, url))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def _serve_quietly(settings: Settings, url: str) -> None:
    """Leave Ctrl-C to the parent, which ends this process in good order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(os.getppid(), signal.SIGTERM)
    serve_api(settings, url)
