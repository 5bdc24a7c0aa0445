"""A proxy that notes when each request passes, in front of one server or another."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Witness:
    """Listens on a port, passes requests on to `target`, and notes their bodies.

    `away` is how many seconds away the target is, there and back.
    """

    def __init__(self, target: str = "", *, away: float = 0.0) -> None:
        self.target, self.away = target, away
        self.seen: list[tuple[float, str, bytes]] = []  # when, path, body
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.witness = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Witness:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def first(self, *words: bytes) -> float | None:
        """Return when the first body passed that has all these words."""
        for at, _, body in list(self.seen):
            if all(word in body for word in words):
                return at
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.onward: tuple[str, http.client.HTTPConnection] | None = None

    def finish(self) -> None:
        if self.onward is not None:
            self.onward[1].close()
        super().finish()

    def do_GET(self) -> None:
        self._pass_on()

    do_POST = do_GET

    def _pass_on(self) -> None:
        witness = self.server.witness
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        witness.seen.append((time.monotonic(), self.path, body))
        time.sleep(witness.away)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        connection = self._to(witness.target)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (
                "content-length",
                "transfer-encoding",
                "connection",
            ):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _to(self, target: str) -> http.client.HTTPConnection:
        """Return the connection of this client's to the target, made when needed."""
        if self.onward is None or self.onward[0] != target:
            place = urlsplit(target)
            made = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
            self.onward = (target, made)
        return self.onward[1]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that was killed
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
