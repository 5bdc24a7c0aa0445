"""The signing process: JSON-RPC over HTTP, on a Unix socket or on this machine only."""

import contextlib
import ipaddress
import json
import os
import socket
import socketserver
import stat
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol, TypeVar

from commands.errors import SigningHeld, SigningRefused
from commands.signing.wire import BYTES_MAX, HELD, NO_METHOD, REFUSED
from db.bounded import load_strict_json
from db.commands.states import Hold
from db.engine import Unavailable

REQUEST_SECONDS = 10.0
HEADERS_MAX = 50

# Any: the parameter of a call, and its result, are JSON.
Methods = Mapping[str, Callable[[dict[str, Any]], Any]]


class _Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    methods: Methods


class _UnixServer(_Threads, socketserver.UnixStreamServer):
    pass


class _LocalServer(_Threads, socketserver.TCPServer):
    allow_reuse_address = True


Server = _UnixServer | _LocalServer


class _Key(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> bytes: ...


K = TypeVar("K", bound=_Key)


def keys_by_address(keys: Iterable[K]) -> dict[bytes, K]:
    """The signers' keys by address; raises SigningRefused where two have the same."""
    found: dict[bytes, K] = {}
    for key in keys:
        if (other := found.get(key.address)) is not None:
            raise SigningRefused(
                f"signers {other.name} and {key.name} have the same key: give each a "
                "key of its own"
            )
        found[key.address] = key
    return found


def open_server(listen: str, methods: Methods) -> Server:
    """A server that answers these calls; `serve_forever` runs it.

    `listen` is `unix:/path`, readable by its owner alone, or a host of this machine
    and a port: whoever reaches it may ask for signatures, within the rules.
    """
    server: Server
    if listen.startswith("unix:"):
        path = Path(listen.removeprefix("unix:"))
        _remove_old(path)
        before = os.umask(0o177)
        try:
            server = _UnixServer(str(path), _Handler)
        finally:
            os.umask(before)
    else:
        host, _, port = listen.rpartition(":")
        if not port.isdigit() or not _is_here(host):
            raise SigningRefused(
                f"{listen} is not on this machine: listen at unix:/path/to/sign.sock "
                "or at 127.0.0.1:9000"
            )
        server = _LocalServer((host, int(port)), _Handler)
    server.methods = methods
    return server


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _remove_old(path: Path) -> None:
    """Remove a socket file without a listener."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise SigningRefused(f"{path} is there and no socket: name another path")
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise SigningRefused(f"another process listens at {path}: stop it first")
        finally:
            probe.close()


class _Handler(BaseHTTPRequestHandler):
    """One request: a JSON-RPC call."""

    timeout = REQUEST_SECONDS
    server: Any  # a Server; the base class promises less

    def do_POST(self) -> None:
        """Answer a call."""
        if (status := self._refused()) is not None:
            self.send_error(status)
            return
        length = int(self.headers["Content-Length"])
        try:
            asked = load_strict_json(self.rfile.read(length), bytes_max=BYTES_MAX)
            method, parameter = str(asked["method"]), dict(asked["params"][0])
            number = asked.get("id")
        except (ValueError, LookupError, TypeError, AttributeError):
            self._send(
                None, _error(-32600, "this is no JSON-RPC call with a parameter")
            )
            return
        self._send(number, self._reply(method, parameter))

    def _refused(self) -> int | None:
        """Return the status that refuses requests of browsers; None: it may be served.

        A page of any site may have a browser on this machine post here: as text/plain
        without being asked first, and under a name of its own that it has lead here.
        It then always says its Origin.
        """
        headers = self.headers
        length = headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(headers) > HEADERS_MAX:
            return 400
        if not 0 < int(length) <= BYTES_MAX:
            return 413
        if headers.get_content_type() != "application/json":
            return 415
        if headers.get("Origin") is not None or not self._is_our_host():
            return 403
        return None

    def _is_our_host(self) -> bool:
        if isinstance(self.server, _UnixServer):
            return True
        address, port = self.server.server_address[:2]
        host = self.headers.get("Host", "")
        return host in {f"{name}:{port}" for name in (address, "localhost")}

    def _reply(self, method: str, parameter: dict[str, Any]) -> dict[str, Any]:
        """The answer to a call, or why there is none."""
        try:
            methods: Methods = self.server.methods
            if method not in methods:
                return _error(NO_METHOD, "no such method")
            return {"result": methods[method](parameter)}
        except SigningRefused as error:
            return _error(REFUSED, str(error))
        except SigningHeld as error:
            return _error(HELD, str(error), hold=error.hold.value)
        except Unavailable:
            return _error(
                HELD, "the signing process cannot reach its database: start that",
                hold=Hold.SIGNER_UNAVAILABLE.value,
            )  # fmt: skip

    def _send(self, number: Any, answer: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": number, **answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """Return the name of a client: on a Unix socket there is no address."""
        return "local"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing for requests; signatures are logged where they are made."""


def _error(code: int, message: str, **data: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "data": data}}
