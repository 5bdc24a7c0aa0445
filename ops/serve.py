"""The API under granian: the application of a worker process, and the server."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from api.app import create_app
from api.documents import PARTS_BYTES
from api.front import Front, FrontOptions
from api.metrics import count_together
from api.waiting import WAITERS_MOST
from db.engine import connect
from db.reads import read_engine
from ops.accounts import auth_options, web_options
from ops.command_service import open_command_service
from ops.documents import open_documents, open_storage, sweep_beside
from ops.embedded.child import die_with_parent
from ops.indexing import declared, streams
from ops.logs import configure_logging, current_logging
from ops.metrics_port import check_metrics_port, serve_metrics
from ops.payments import payment_options
from ops.settings import Settings, load_settings
from ops.sockets import drop_stuck_readers
from ops.temporary import temporary_folder

LogForm = tuple[Literal["text", "json"], int]

WORKERS = 1
READERS = 8  # connections; whoever waits for a command holds none
THREADS = READERS + WAITERS_MOST
KILL_SECONDS = 5  # a worker that has not ended by then is killed
CONNECTIONS_MOST = 2048  # of one worker
HEAD_MILLISECONDS = 10_000  # for the head of a request
READ_SECONDS = 20  # an answer of which nothing was taken for so long is given up


def build_app(
    path: str | None,
    url: str,
    instance: str = "",
    *,
    read_only: bool = False,
    folder: Path | None = None,
) -> Flask:
    """The app of one worker process, which counts with others in `folder`.

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
        "metrics_folder": folder,
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
        command_service=open_command_service(settings, writer)
        if settings.signers
        else None,
        documents=open_documents(settings, writer, registry),
        payments=payment_options(settings),
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
    measured = check_metrics_port(settings.metrics)
    path = None if settings.path is None else str(settings.path)
    server = Granian(
        "chainfold",
        address=settings.api.host,
        port=settings.api.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_MILLISECONDS),
        websockets=False,
        workers=workers,
        backpressure=CONNECTIONS_MOST,
        backlog=CONNECTIONS_MOST,
        log_level=LogLevels.error,  # it warns of threads that only wait
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_SECONDS,
    )
    with temporary_folder("chainfold-counts-") as folder:
        counts = folder if workers > 1 else None
        build = partial(
            build_app, path, url, instance, read_only=read_only, folder=counts
        )
        work = _Work(path, url, measured, counts, sweeps=not read_only)
        load = partial(_load, work, build, current_logging())
        server.serve(target_loader=load, wrap_loader=False)


@dataclass(frozen=True, slots=True)
class _Work:
    """The work of a worker process beside answering requests."""

    path: str | None
    url: str
    measured: bool  # whether it tells its metrics
    counts: Path | None  # where it counts together with the others
    sweeps: bool  # whether it looks after documents


def _load(work: _Work, build: Callable[[], Flask], form: LogForm, *_: Any) -> Any:
    """Runs in the worker, which is new and logs nothing yet.

    In a session of its own it does not get the terminal's Ctrl-C: granian's main
    process ends it. It never outlives that process.
    """
    os.setsid()
    die_with_parent(os.getppid(), signal.SIGKILL)
    configure_logging(form[0], level=form[1])
    settings = load_settings(work.path)
    if work.counts is not None:
        count_together(work.counts)
    app = build()
    if work.measured:
        serve_metrics(settings.metrics, app.extensions["chainfold_metrics"])
    if work.sweeps:
        sweep_beside(settings, work.url)
    options = FrontOptions(
        body_bytes_max=max(
            settings.api.max_body_bytes,
            settings.api.max_document_bytes + PARTS_BYTES,
        ),
        read_threads=THREADS,
    )
    return _Worker(app, options, settings.api.port)


class _Worker(Front):
    """The front, which also looks after the socket that its server listens at."""

    def __init__(self, app: Flask, options: FrontOptions, port: int) -> None:
        super().__init__(app.wsgi_app, options)
        self._port = port

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the server before it listens."""
        drop_stuck_readers(loop, self._port, READ_SECONDS)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the server when it listens no more: end the process at once.

        Threads of the server that want the interpreter while it is torn down abort
        the process, with a stack trace on its terminal.
        """
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
