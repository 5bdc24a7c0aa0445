"""The API as a process of its own, under granian."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
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
from ops.documents import open_documents, open_storage, sweep_beside
from ops.embedded.child import die_with_parent
from ops.errors import OperationError
from ops.indexing import declared, streams
from ops.intake import open_intake
from ops.logs import configure_logging, current_logging
from ops.metrics_port import check_metrics_port, serve_metrics
from ops.settings import Settings, load_settings
from ops.sockets import drop_stuck_readers

LogForm = tuple[Literal["text", "json"], int]

WORKERS = 1
READERS = 8  # connections; whoever waits for a command holds none
THREADS = READERS + WAITERS_MOST
START_SECONDS = 30
CONNECTIONS_MOST = 2048  # of one worker
HEAD_MILLISECONDS = 10_000  # for the head of a request
READ_SECONDS = 20  # an answer of which nothing was taken for so long is given up


def build_app(path: str | None, url: str, folder: Path | None = None) -> Flask:
    """The app of one worker process, which counts with others in `folder`."""
    settings = load_settings(path)
    registry = declared(settings)
    writer = connect(url, pool_size=READERS)
    plans = {name: plan for name, (_, plan) in streams(settings, registry).items()}
    return create_app(
        read_engine(url, pool_size=READERS),
        registry,
        page_size=settings.api.page_size,
        plans=plans,
        writer=writer,
        auth=auth_options(settings),
        web=web_options(settings),
        intake=open_intake(settings, writer) if settings.signers else None,
        documents=open_documents(settings, writer, registry),
        metrics_folder=folder,
    )


def serve_api(settings: Settings, url: str, *, workers: int = WORKERS) -> None:
    """Serve until a signal; returns when the workers have ended."""
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
    )
    with TemporaryDirectory(prefix="chainfold-counts-") as folder:
        counts = Path(folder) if workers > 1 else None
        load = partial(_load, path, url, current_logging(), measured, counts)
        server.serve(target_loader=load, wrap_loader=False)


def _load(
    path: str | None,
    url: str,
    form: LogForm,
    measured: bool,
    counts: Path | None,
    *_: Any,
) -> Any:
    """Runs in the worker, which is new and logs nothing yet."""
    configure_logging(form[0], level=form[1])
    settings = load_settings(path)
    if counts is not None:
        count_together(counts)
    app = build_app(path, url, counts)
    if measured:
        serve_metrics(settings.metrics, app.extensions["chainfold_metrics"])
    sweep_beside(settings, url)
    options = FrontOptions(
        body_bytes_max=max(
            settings.api.max_body_bytes,
            settings.api.max_document_bytes + PARTS_BYTES,
        ),
        read_threads=THREADS,
    )
    return _Worker(app.wsgi_app, options)


class _Worker(Front):
    """The front, which also looks after the socket that its server listens at."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the server before it listens."""
        drop_stuck_readers(loop, READ_SECONDS)


@contextmanager
def start_api(settings: Settings, url: str) -> Iterator[None]:
    """The API in a process beside this one, which ends it; it also ends with us."""
    context = multiprocessing.get_context("spawn")
    path = None if settings.path is None else str(settings.path)
    process = context.Process(
        target=_serve_quietly, args=(path, url, current_logging())
    )
    process.start()
    try:
        _await_listening(settings, process)
        yield
    finally:
        process.terminate()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def _await_listening(settings: Settings, process: BaseProcess) -> None:
    api = settings.api
    deadline = time.monotonic() + START_SECONDS
    while process.is_alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((api.host, api.port), 1).close()
            return
        time.sleep(0.05)
    raise OperationError(
        f"the API did not start on {api.host}:{api.port}; its own message is above. If "
        "the port is taken, set [api] port."
    )


def _serve_quietly(path: str | None, url: str, form: LogForm) -> None:
    """Leave Ctrl-C to the parent, which ends this process in good order."""
    configure_logging(form[0], level=form[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(os.getppid(), signal.SIGTERM)
    serve_api(load_settings(path), url)
