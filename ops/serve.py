"""The API under granian: the application of a worker process, and the server."""

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from api.app import create_app
from api.waiting import WAITERS_MOST
from db.engine import connect
from db.reads import read_engine
from ops.accounts import auth_options, web_options
from ops.documents import open_documents, open_storage
from ops.embedded.child import die_with_parent
from ops.indexing import declared, streams
from ops.intake import open_intake
from ops.logs import configure_logging, current_logging
from ops.settings import Settings, load_settings

LogForm = tuple[Literal["text", "json"], int]

WORKERS = 1
READERS = 8  # connections; whoever waits for a command holds none
THREADS = READERS + WAITERS_MOST
KILL_SECONDS = 5  # a worker that has not ended by then is killed


def build_app(
    path: str | None, url: str, instance: str = "", *, read_only: bool = False
) -> Any:
    """The WSGI application of one worker process.

    With `read_only` nobody can sign in, and nothing be asked for: as on a replica.
    `instance` names the server that it belongs to; `/health/live` tells it.
    """
    settings = load_settings(path)
    registry = declared(settings)
    plans = {name: plan for name, (_, plan) in streams(settings, registry).items()}
    reading: dict[str, Any] = {
        "page_size": settings.api.page_size,
        "plans": plans,
        "web": web_options(settings),
        "instance": instance,
    }
    reader = read_engine(url, pool_size=READERS)
    if read_only:
        return create_app(reader, registry, **reading)
    writer = connect(url, pool_size=READERS)
    return create_app(
        reader,
        registry,
        writer=writer,
        auth=auth_options(settings),
        intake=open_intake(settings, writer) if settings.signers else None,
        documents=open_documents(settings, writer, registry),
        **reading,
    )


def serve_api(
    settings: Settings,
    url: str,
    *,
    workers: int = WORKERS,
    instance: str = "",
    read_only: bool = False,
) -> None:
    """Serve until a signal; returns when the workers have ended.

    The port must be claimed (`ops.ports.claimed_port`): granian would share it.
    """
    if not read_only:
        open_storage(settings)  # what it lacks is told once, and not by every worker
    path = None if settings.path is None else str(settings.path)
    server = Granian(
        "chainfold",
        address=settings.api.host,
        port=settings.api.port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=THREADS,
        log_level=LogLevels.error,  # it warns of threads that only wait
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_SECONDS,
    )
    build = partial(build_app, path, url, instance, read_only=read_only)
    load = partial(_load, build, current_logging())
    server.serve(target_loader=load, wrap_loader=False)


def _load(build: Callable[[], Any], form: LogForm, *_: Any) -> Any:
    """Runs in the worker, which is new and logs nothing yet.

    In a session of its own it does not get the terminal's Ctrl-C: granian's main
    process ends it. It never outlives that process.
    """
    os.setsid()
    die_with_parent(os.getppid(), signal.SIGKILL)
    configure_logging(form[0], level=form[1])
    return build()
