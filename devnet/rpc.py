"""A plain JSON-RPC client for one node on this machine: blocking, one connection.

For deploying, traffic and tests. The indexer has its own, which trusts nobody.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from ops.errors import OperationError

CALL_SECONDS_MAX = 120
BATCH_MAX = 20
"""What a Polygon Edge node accepts in one request."""


_HUNG_UP = (
    http.client.RemoteDisconnected,
    BrokenPipeError,
    ConnectionResetError,
)


class RpcError(RuntimeError):
    """The node answered with an error."""

    def __init__(self, method: str, code: int, message: str, data: object) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code
        self.data = data


class UnreachableError(OperationError, ConnectionError):
    """Nothing that speaks JSON-RPC answers at the address."""


class Rpc:
    """One node, by its URL. Safe to share between threads, which then take turns."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"{url!r} is not an http:// address of a local node")
        self._path = parts.path or "/"
        self._lock = threading.Lock()
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=CALL_SECONDS_MAX
        )

    # Any: a JSON value; each caller knows the shape of its method's answer.
    def call(self, method: str, *params: object) -> Any:
        """Call one method and return its result."""
        answer = self._post(_request(0, method, params))
        return _result(method, answer)

    def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        """Call many methods, in as few requests as a strict node needs, in order."""
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_MAX):
            part = calls[start : start + BATCH_MAX]
            requests = [
                _request(i, method, params) for i, (method, params) in enumerate(part)
            ]
            answers = {answer["id"]: answer for answer in self._post(requests)}
            results += [_result(part[i][0], answers[i]) for i in range(len(part))]
        return results

    def close(self) -> None:
        """Drop the connection; the next call opens another."""
        with self._lock:
            self._connection.close()

    def _post(self, payload: object) -> Any:
        body = orjson.dumps(payload)
        with self._lock:
            try:
                # A node may have hung up since the last call; that is no answer.
                if self._connection.sock is not None:
                    with contextlib.suppress(*_HUNG_UP):
                        return orjson.loads(self._exchange(body))
                    self._connection.close()
                return orjson.loads(self._exchange(body))
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise UnreachableError(
                    f"no node answers at {self.url} ({error}): is it running?"
                ) from error

    def _exchange(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", self._path, body, headers)
        return self._connection.getresponse().read()


def _request(number: int, method: str, params: Sequence[object]) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def _result(method: str, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is not None:
        raise RpcError(method, error["code"], error["message"], error.get("data"))
    return answer["result"]
