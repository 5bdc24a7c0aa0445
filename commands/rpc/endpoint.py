"""One node over HTTP, bounded in time, size and depth.

Its URL may hold a password or a key, so it never leaves this module: every error and
every word of the node is told without the URL's secrets (`db.urls`).
"""

import base64
import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import numpy as np

from commands.errors import CommandError, NodeAway
from commands.rpc.lookup import Lookup
from db.urls import hide, secrets_of

MAX_ANSWER_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_IDLE = 8  # connections kept open

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NOT_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")
_HEX = re.compile(r"0x((?:[0-9a-fA-F]{2})*)")


class BadUrl(CommandError):
    """An endpoint of the settings is no URL that can be asked."""


@dataclass(frozen=True, slots=True)
class NodeError:
    """The JSON-RPC error of a node.

    `data` is what an EVM call reverted with, `details` whatever the node put there.
    """

    code: int
    message: str
    data: bytes
    details: Any = None


@dataclass(frozen=True, slots=True)
class Question:
    """A method and its parameters."""

    method: str
    params: Sequence[Any] = ()


class Asked(Protocol):
    """The interface by which one node is asked."""

    @property
    def label(self) -> str:
        """Its name in messages, which holds no secret."""
        ...

    def hide(self, text: object) -> str:
        """Return a text without the node's secrets."""
        ...

    def ask(
        self,
        questions: Sequence[Question],
        seconds: float,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> list[Any]:
        """The answers in order, each a result or an RpcError; raises NodeAway."""
        ...


class NodeEndpoint:
    """One node: requests and answers over HTTP."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadUrl("an endpoint is not a URL: write http(s)://host[:port]/…")
        self._secrets = secrets_of(url)
        self._clock = clock
        self._parts = parts
        self._headers = _headers(parts)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._singly = False
        self._lookup = Lookup()
        port = f":{parts.port}" if parts.port else ""
        self.label = f"{parts.hostname}{port}"

    def __repr__(self) -> str:
        return f"Endpoint({self.label})"

    def hide(self, text: object) -> str:
        """A text without the URL's secrets."""
        return hide(self._secrets, text)

    def ask(
        self,
        questions: Sequence[Question],
        seconds: float,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> list[Any]:
        """The answers in order, each a result or an RpcError; raises NodeAway.

        One request carries all questions. `seconds` is for all of it.
        """
        deadline = self._clock() + seconds
        if self._singly or len(questions) == 1:
            return [self._ask_one(each, deadline, most_bytes) for each in questions]
        body = msgspec.json.encode(
            [_message(at, each) for at, each in enumerate(questions)]
        )
        found = self._parsed(self._post(body, deadline, most_bytes))
        if isinstance(found, dict):
            # An object in answer to an array: it takes no batches, or nothing at all.
            self._singly = True
            return self.ask(questions, self._left(deadline), most_bytes)
        by_id = {str(each.get("id")): each for each in found if isinstance(each, dict)}
        if by_id.keys() != {str(at) for at in range(len(questions))}:
            raise NodeAway(f"{self.label} did not answer all that it was asked")
        return [self._result(by_id[str(at)]) for at in range(len(questions))]

    def _ask_one(self, question: Question, deadline: float, most_bytes: int) -> Any:
        body = msgspec.json.encode(_message(0, question))
        found = self._parsed(self._post(body, deadline, most_bytes))
        if not isinstance(found, dict):
            raise NodeAway(f"{self.label} answered one question with several answers")
        return self._result(found)

    def _post(self, body: bytes, deadline: float, most_bytes: int) -> bytes:
        try:
            try:
                return self._exchange(self._taken(), body, deadline, most_bytes)
            except (_Stale, http.client.RemoteDisconnected, ConnectionError):
                # An idle connection that the node has closed, or none at all yet.
                fresh = self._connected(deadline)
                return self._exchange(fresh, body, deadline, most_bytes)
        except TimeoutError:
            raise NodeAway(f"{self.label} did not answer in time") from None
        except (http.client.HTTPException, OSError, ValueError) as error:
            words = self.hide(error) or type(error).__name__
            raise NodeAway(f"{self.label} did not answer: {words}") from None

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        body: bytes,
        deadline: float,
        most_bytes: int,
    ) -> bytes:
        try:
            connection.sock.settimeout(self._left(deadline))
            # typeshed wants a class here; http.client calls whatever it is given.
            made: Any = lambda sock, **more: http.client.HTTPResponse(  # noqa: E731
                _Timed(sock, deadline, self._clock),  # type: ignore[arg-type]
                **more,
            )
            connection.response_class = made
            path = self._parts.path or "/"
            query = f"?{self._parts.query}" if self._parts.query else ""
            connection.request("POST", path + query, body, self._headers)
            response = connection.getresponse()
            answer = response.read(most_bytes + 1)
        except BaseException:
            connection.close()
            raise
        if len(answer) > most_bytes:
            connection.close()
            raise NodeAway(f"{self.label} answered with more than {most_bytes} bytes")
        self._keep(connection, response)
        if answer[:1] not in (b"[", b"{"):
            raise NodeAway(f"{self.label} answered HTTP {response.status}, and no JSON")
        return answer

    def _taken(self) -> http.client.HTTPConnection:
        with self._lock:
            if not self._idle:
                raise _Stale
            return self._idle.pop()

    def _keep(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        if not response.isclosed() or response.will_close:
            connection.close()
            return
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connected(self, deadline: float) -> http.client.HTTPConnection:
        """Return a connection to one of the host's addresses; raises TimeoutError."""
        host, is_https = self._parts.hostname or "", self._parts.scheme == "https"
        port = self._parts.port or (443 if is_https else 80)
        made = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
        connection = made(host, port)
        refused = OSError(f"{host} has no address")
        for address in self._lookup.addresses(host, port, self._left(deadline)):
            try:
                sock = socket.create_connection(address, self._left(deadline))
            except TimeoutError:
                raise
            except OSError as error:
                refused = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if is_https:
                context = ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=host)
            connection.sock = sock
            return connection
        raise refused

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _parsed(self, body: bytes) -> dict[str, Any] | list[Any]:
        if too_deep(body):
            raise NodeAway(f"{self.label} answered with JSON nested too deep")
        try:
            found = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            raise NodeAway(f"{self.label} did not answer with JSON") from None
        assert isinstance(found, dict | list)  # by its first byte
        return found

    def _result(self, response: dict[str, Any]) -> Any:
        error = response.get("error")
        return response.get("result") if error is None else self._error(error)

    def _error(self, error: Any) -> NodeError:
        """The error of a response, whatever its form."""
        content = error if isinstance(error, dict) else {"message": error}
        code, message = content.get("code"), content.get("message")
        words = self.hide("" if message is None else message)
        return NodeError(
            code if isinstance(code, int) else 0,
            words or f"error {self.hide(code)}",
            data_of(content.get("data")),
            content.get("data"),
        )


def _message(number: int, question: Question) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": number,
        "method": question.method,
        "params": question.params,
    }


class _Stale(Exception):
    """There is no idle connection."""


class _Timed(io.RawIOBase):
    """A socket's bytes until a deadline, however slowly they come."""

    def __init__(
        self, sock: socket.socket, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._sock, self._deadline, self._clock = sock, deadline, clock
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream that `http.client` reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Some bytes; raises TimeoutError after the deadline."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Give the socket back."""
        self._raw.close()
        super().close()


def too_deep(body: bytes, most: int = MAX_DEPTH) -> bool:
    """Whether JSON is nested deeper than a parser should follow."""
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    marks = _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS)
    kinds = np.frombuffer(marks, np.uint8)
    steps = np.where((kinds == ord("[")) | (kinds == ord("{")), 1, -1)
    return bool(len(steps) and np.cumsum(steps).max() > most)


def data_of(given: Any) -> bytes:
    """The bytes that a call reverted with, in whatever form a node tells them.

    Hex alone, behind the word `Reverted` (Parity, Erigon), or in an object's `data`.
    """
    for _ in range(4):
        if isinstance(given, dict):
            given = given.get("data") or given.get("result") or given.get("return")
    match = _HEX.fullmatch(str(given).removeprefix("Reverted").strip())
    return bytes.fromhex(match[1]) if match else b""


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if parts.username or parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        coded = base64.b64encode(pair.encode()).decode()
        headers["Authorization"] = f"Basic {coded}"
    return headers
