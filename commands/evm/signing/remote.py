"""A signer in another process: `chainfold sign serve`, or a web3signer, over HTTP.

What it gives back is read before it is trusted: it must be exactly the transaction that
was asked for, signed by the account that was expected.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from commands.errors import BadTransaction, SigningHeld, SigningRefused
from commands.evm.raw import read_raw
from commands.evm.signers import Payload, SignedBytes
from commands.evm.signing.wire import (
    BYTES_MAX,
    HELD,
    NO_METHOD,
    REFUSED,
    as_parameters,
)
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
class RemoteSigner:
    """A key that is elsewhere; `url` is `unix:/path` or an HTTP endpoint."""

    name: str
    address: bytes
    url: str
    timeout_seconds: float = 30.0

    def permits(self, payload: Payload) -> None:
        """Ask whether it would sign; without that method nothing is asked."""
        self._ask("chainfold_permits", as_parameters(payload, self.address))

    def floor(self) -> int:
        """The nonce after the last that it remembers to have signed; 0: none."""
        asked = {"from": "0x" + self.address.hex()}
        return int(self._ask("chainfold_floor", asked) or 0)

    def sign(self, payload: Payload) -> SignedBytes:
        """Have a payload signed, and check the signature."""
        answer = self._ask("eth_signTransaction", as_parameters(payload, self.address))
        if isinstance(answer, dict):  # as go-ethereum answers
            answer = answer.get("raw")
        try:
            raw = bytes.fromhex(str(answer).removeprefix("0x"))
            found = read_raw(raw)
        except (ValueError, BadTransaction) as error:
            raise self._held(f"it gave no signed transaction: {error}") from error
        if found.sender != self.address:
            raise self._held(f"it signed as 0x{found.sender.hex()}")
        asked = (
            payload.chain_id, payload.nonce, payload.gas, payload.to, payload.value,
            payload.data, payload.gas_price, payload.priority_fee,
        )  # fmt: skip
        given = (
            found.chain_id, found.nonce, found.gas, found.to, found.value, found.data,
            found.gas_price, found.priority_fee,
        )  # fmt: skip
        if asked != given:
            raise self._held("it signed another transaction than it was asked to")
        return SignedBytes(raw, found.hash)

    def _ask(self, method: str, parameter: dict[str, str]) -> Any:
        """The answer to a call; None when the signer does not know the method."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]}
        try:
            document = load_json(
                self._post(json.dumps(body).encode()), bytes_max=BYTES_MAX
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._held(f"it does not answer: {error!r}") from error
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
        raise self._held(message)

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

    def _held(self, what: str) -> SigningHeld:
        return SigningHeld(
            Hold.SIGNER_UNAVAILABLE,
            f"signer {self.name} cannot be used, {what}. See to the signing process.",
        )
