"""The HTTP front of the app: it reads bodies, so that no thread waits for a client.

A server that hands a request to a thread as soon as its head has come lets anybody hold
all threads by sending bodies byte by byte. Here an event loop reads the whole body, and
within a time; only then a thread runs the app, and the loop sends what it answers, so
that who reads slowly holds no thread either. Requests that look whether the process
lives, that change something, and that read have threads of their own: none of the three
waits for another.

    Front(app.wsgi_app, FrontOptions(body_bytes_max=10 << 20)).__rsgi__

is an application of RSGI, granian's own interface
(https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md); the app is
one of WSGI (PEP 3333).
"""

import asyncio
import contextlib
import contextvars
import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from api.errors import MEDIA_TYPE, RETRY_SECONDS, problem_object
from api.lanes import RequestLane, TooLate
from api.waiting import CLIENT

SAFE = ("GET", "HEAD", "OPTIONS")
HEALTH = "/health/"
_NOT_PASSED = ("transfer-encoding", "content-length", "content-type", "proxy")
_END = object()
_FAILED = "Something went wrong; the log of the server says what."

log = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """The time and the room that clients are given.

    A body of up to `small_bytes` may take `body_seconds`; a larger one longer, at
    `rate_bytes` a second, and only `large_most` are read at a time. All bodies that are
    held, from their first byte until their request is answered, take `buffer_bytes` at
    most: more is refused as `busy`.
    """

    body_bytes_max: int
    small_bytes: int = 1 << 20
    body_seconds: float = 10.0
    rate_bytes: int = 100_000
    large_most: int = 8
    buffer_bytes: int = 128 << 20
    queue_seconds: float = 10.0  # a request that waited longer is not begun
    health_threads: int = 2
    change_threads: int = 16
    read_threads: int = 40


class RequestRefused(Exception):
    """The request is answered here, with this problem."""

    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail


class ClientConnection:
    """A client waiting for its answer; it calls back when it disconnects."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        self._loop, self._protocol = loop, protocol
        self._watches: list[asyncio.Task[None]] = []
        self._served = False
        self.held_bytes = 0  # of the request's body

    def when_gone(self, tell: Callable[[], None]) -> None:
        """Call `tell` in the loop's thread when the client disconnects."""
        self._loop.call_soon_threadsafe(self._watch, tell)

    def served(self) -> None:
        """Cancel the callback: the answer was sent."""
        self._served = True
        for watch in self._watches:
            watch.cancel()

    def _watch(self, tell: Callable[[], None]) -> None:
        if not self._served:
            self._watches.append(self._loop.create_task(self._await(tell)))

    async def _await(self, tell: Callable[[], None]) -> None:
        await self._protocol.client_disconnect()
        if not self._served:
            tell()


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose length the app does not know: it comes in parts."""

    status: int
    headers: Headers
    parts: Iterator[bytes]
    close: Callable[[], None]
    context: contextvars.Context

    def next_part(self) -> Any:
        """The next part, or `_END`; runs in a thread."""
        return self.context.run(next, self.parts, _END)


class Front:
    """An application of RSGI that runs one of WSGI."""

    def __init__(self, app: App, options: FrontOptions) -> None:
        self._app, self._options = app, options
        self._health, self._changes, self._reads = (
            RequestLane(name, threads, options.queue_seconds)
            for name, threads in (
                ("health", options.health_threads),
                ("changes", options.change_threads),
                ("reads", options.read_threads),
            )
        )
        self._buffered = 0
        self._large = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            protocol.close(403)
        elif has_body(scope):
            # In a task of its own, for which a time can be set.
            await asyncio.get_running_loop().create_task(self._serve(scope, protocol))
        else:
            await self._serve(scope, protocol)

    async def _serve(self, scope: Any, protocol: Any) -> None:
        client = ClientConnection(asyncio.get_running_loop(), protocol)
        try:
            body, length = await self._body(scope, protocol, client)
            lane = self._lane(scope)
            stream = await lane.run(self._run, scope, protocol, body, length, client)
            if stream is not None:
                await _send(protocol, stream, lane)
        except TooLate:
            _refuse(protocol, scope, "busy", "Too many ask at once. Try again soon.")
        except RequestRefused as refused:
            _refuse(protocol, scope, refused.name, refused.detail)
        except Exception:
            log.exception("request_failed path=%s", scope.path)
            _refuse(protocol, scope, "internal_error", _FAILED)
        finally:
            self._buffered -= client.held_bytes
            client.served()

    def _lane(self, scope: Any) -> RequestLane:
        if scope.path.startswith(HEALTH):
            return self._health
        return self._reads if scope.method in SAFE else self._changes

    async def _body(
        self, scope: Any, protocol: Any, client: ClientConnection
    ) -> tuple[bytes, int]:
        """The body and its length; the length alone where it is more than is taken."""
        if not has_body(scope):
            return b"", 0
        options, declared_length = self._options, scope.headers.get("content-length")
        length = (
            options.body_bytes_max if declared_length is None else int(declared_length)
        )
        if length > options.body_bytes_max:
            return b"", length  # the app says so in its own words
        large = length > options.small_bytes
        if large and self._large >= options.large_most:
            raise RequestRefused(
                "busy", "Other large bodies are being read. Try again soon."
            )
        self._large += large
        seconds = options.body_seconds + large * length / options.rate_bytes
        try:
            async with asyncio.timeout(seconds):
                body = await self._read(protocol, client)
        except TimeoutError:
            raise RequestRefused(
                "slow_body", f"The body did not come in {seconds:.0f} s. Send it again."
            ) from None
        finally:
            self._large -= large
        if declared_length is not None and len(body) != length:
            raise RequestRefused(
                "slow_body", "The body ended before its length. Send it all."
            )
        return (body, len(body)) if len(body) <= length else (b"", len(body))

    async def _read(self, protocol: Any, client: ClientConnection) -> bytes:
        body = bytearray()
        async for part in protocol:
            body += part
            client.held_bytes += len(part)
            self._buffered += len(part)
            if len(body) > self._options.body_bytes_max:
                break
            if self._buffered > self._options.buffer_bytes:
                raise RequestRefused(
                    "busy", "Too many bodies are held. Try again soon."
                )
        return bytes(body)

    def _run(
        self,
        scope: Any,
        protocol: Any,
        body: bytes,
        length: int,
        client: ClientConnection,
    ) -> StreamedAnswer | None:
        """Run the app and send its answer, in this thread; or have it sent in parts."""
        environ = environ_of(scope, body, length)
        environ[CLIENT] = client
        context = contextvars.copy_context()
        begun: list[Any] = []

        def start_response(status: str, headers: Headers, _: Any = None) -> None:
            begun[:] = [int(status.partition(" ")[0]), headers]

        parts = context.run(self._app, environ, start_response)
        ended: Callable[[], None] = getattr(parts, "close", _nothing)
        status, given = begun
        headers = [(name.lower(), value) for name, value in given]
        if all(name != "content-length" for name, _ in headers):
            close = partial(context.run, ended)
            return StreamedAnswer(status, headers, iter(parts), close, context)
        try:
            whole = b"".join(context.run(list, parts))
        finally:
            context.run(ended)
        with contextlib.suppress(ProtocolClosed):
            protocol.response_bytes(status, headers, whole)
        return None


async def _send(protocol: Any, stream: StreamedAnswer, lane: RequestLane) -> None:
    """Send an answer as it comes.

    The server keeps what the client does not read, so nothing waits here for long.
    """
    try:
        sending = protocol.response_stream(stream.status, stream.headers)
        while (part := await lane.run(stream.next_part)) is not _END:
            await sending.send_bytes(part)
    except ProtocolClosed:
        pass  # they hung up
    finally:
        await lane.run(stream.close)


def _refuse(protocol: Any, scope: Any, name: str, detail: str) -> None:
    """Answer without the app; the rest of the request, if any, is not waited for."""
    problem = problem_object(name, detail, instance=scope.path)
    headers = [
        ("content-type", MEDIA_TYPE), ("cache-control", "no-store"),
        ("retry-after", str(RETRY_SECONDS)), ("connection", "close"),
    ]  # fmt: skip
    with contextlib.suppress(ProtocolClosed):
        protocol.response_bytes(problem["status"], headers, orjson.dumps(problem))


def _nothing() -> None:
    """Do nothing: the `close` of an iterable that has none."""


def has_body(scope: Any) -> bool:
    """Whether the request's headers announce a body."""
    declared_length = scope.headers
    return scope.method not in SAFE and (
        "content-length" in declared_length or "transfer-encoding" in declared_length
    )


def environ_of(scope: Any, body: bytes, length: int) -> dict[str, Any]:
    """The environ of a request whose body was read (PEP 3333)."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "CONTENT_LENGTH": str(length) if length else "",
        "CONTENT_TYPE": scope.headers.get("content-type") or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        if name not in _NOT_PASSED:
            key = "HTTP_" + name.upper().replace("-", "_")
            joint = "; " if name == "cookie" else ","
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    return environ
