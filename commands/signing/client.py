"""The asking side of the signing port: calls over HTTP, or over a Unix socket."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from commands.errors import SigningHeld, SigningRefused
from commands.signing.wire import BYTES_MAX, HELD, NO_METHOD, REFUSED
from db.bounded import load_json
from db.commands.states import Hold


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class SigningPort:
    """The place of a signer's key; `url` is `unix:/path` or an HTTP endpoint."""

    signer: str  # its name, for errors
    url: str
    timeout_seconds: float = 30.0

    def ask(self, method: str, parameter: dict[str, Any]) -> Any:
        """The answer to a call; None when the signer does not know the method."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]}
        try:
            document = load_json(
                self._post(json.dumps(body).encode()), bytes_max=BYTES_MAX
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.held(f"it does not answer: {error!r}") from error
        problem = document.get("error") if isinstance(document, dict) else {}
        if not problem:
            return document.get("result") if isinstance(document, dict) else None
        code, message = problem.get("code"), str(problem.get("message"))[:500]
        if code == NO_METHOD and method.startswith("chainfold_"):
            return None
        if code == REFUSED:
            raise SigningRefused(message)
        if code == HELD:
            raise SigningHeld(Hold(problem["data"]["hold"]), message)
        raise self.held(message)

    def _post(self, body: bytes) -> bytes:
        connection = self._connection()
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", self._path(), body, headers)
            return connection.getresponse().read(BYTES_MAX)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.url.startswith("unix:"):
            path = self.url.removeprefix("unix:")
            return _UnixConnection(path, self.timeout_seconds)
        parts = urlsplit(self.url)
        kind = (
            http.client.HTTPSConnection
            if parts.scheme == "https"
            else http.client.HTTPConnection
        )
        host = parts.hostname or "localhost"
        return kind(host, parts.port, timeout=self.timeout_seconds)

    def _path(self) -> str:
        return "/" if self.url.startswith("unix:") else urlsplit(self.url).path or "/"

    def held(self, what: str) -> SigningHeld:
        """Return the error that holds what is to be signed until it can be."""
        return SigningHeld(
            Hold.SIGNER_UNAVAILABLE,
            f"signer {self.signer} cannot be used, {what}. See to the signing process.",
        )
