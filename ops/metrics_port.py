"""Serve the API's metrics on a port of their own, for Prometheus.

Every worker tries to have the port, and one does; when that one ends, another takes it.
All of them count together, so it does not matter which.
"""

import errno
import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.metrics import Metrics
from ops.errors import OperationError
from ops.settings import MetricsSettings

TRY_SECONDS = 5.0
REQUEST_SECONDS = 10.0
SCRAPES_MOST = 4  # at a time

log = logging.getLogger(__name__)


def check_metrics_port(settings: MetricsSettings) -> bool:
    """Whether metrics are to be served; raises OperationError for a taken port."""
    if settings.port == 0:
        return False
    try:
        _bound(settings.host, settings.port).close()
    except OSError as error:
        where, why = f"{settings.host}:{settings.port}", error.strerror
        if settings.explicit or error.errno != errno.EADDRINUSE:
            raise OperationError(
                f"metrics cannot be served on {where}: {why}. Set [metrics] port to "
                "one that is free, or to 0."
            ) from error
        log.warning("metrics_not_served address=%s cause=%r", where, why)
        return False
    return True


def serve_metrics(settings: MetricsSettings, metrics: Metrics) -> None:
    """Serve them in threads beside, as soon as no other worker does."""
    thread = threading.Thread(
        target=_serve, args=(settings, metrics), name="metrics", daemon=True
    )
    thread.start()


def _serve(settings: MetricsSettings, metrics: Metrics) -> None:
    while True:
        try:
            listener = _bound(settings.host, settings.port)
        except OSError:  # another worker has it
            time.sleep(TRY_SECONDS)
            continue
        with _Server(listener, metrics) as server:
            server.serve_forever()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


class _Server(ThreadingHTTPServer):
    """Answers with the metrics; few at a time, for each asks the database."""

    def __init__(self, listener: socket.socket, metrics: Metrics) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.metrics = metrics
        self._room = threading.BoundedSemaphore(SCRAPES_MOST)

    def process_request(self, request: object, address: object) -> None:
        """Serve a connection in a thread, while there is room."""
        if self._room.acquire(timeout=REQUEST_SECONDS):
            super().process_request(request, address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, address: object) -> None:
        """Runs in the thread."""
        try:
            super().process_request_thread(request, address)  # type: ignore[arg-type]
        finally:
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Everything measured, as Prometheus reads it."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "There is /metrics alone.")
            return
        body = self.server.metrics.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing for each request."""
