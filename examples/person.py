"""Somebody at the API's door: the demonstrations ask by HTTP alone."""

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ops.errors import OperationError

WAIT_SECONDS = 30

Json = dict[str, Any]


@dataclass(slots=True)
class Person:
    """Somebody at the API's door."""

    base: str
    name: str
    token: str = field(default="", repr=False)

    def sign_in(self, password: str) -> None:
        """Get an access token for the account of this name."""
        body = {"login": self.name, "password": password}
        self.token = self.post("/auth/token", body)["access_token"]

    def register(self, role: str, password: str) -> None:
        """Open an account of this name with a role, and sign in."""
        body = {"login": self.name, "password": password, "role": role}
        self.post("/auth/register", body)
        self.sign_in(password)

    def await_index(self) -> None:
        """Wait until every chain is read up to its head, as rules look at tables."""
        deadline = time.monotonic() + WAIT_SECONDS
        while any(chain["lag_blocks"] != 0 for chain in self.get("/chains")["data"]):
            if time.monotonic() > deadline:
                raise OperationError("the chain is not indexed in time")
            time.sleep(0.2)

    def get(self, path: str) -> Json:
        """Read something."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Json) -> Json:
        """Ask for something, once."""
        return self._ask("POST", path, body)

    def ask(self, path: str, **arguments: Any) -> Json:
        """Ask for a command; what was taken."""
        data: Json = self.post(path, arguments)["data"]
        return data

    def follow(self, command: Json) -> Json:
        """See a command through to its end; raises if it ends badly."""
        path = f"/commands/{command['id']}?wait={WAIT_SECONDS}&until=final"
        deadline = time.monotonic() + 2 * WAIT_SECONDS
        while True:
            data: Json = self.get(path)["data"]
            if data["final"] or time.monotonic() > deadline:
                break
        if data["state"] != "succeeded":
            raise OperationError(
                f"{data['kind']} is {data['state']}: {data['reason'] or 'no reason'}"
            )
        return data

    def _ask(self, method: str, path: str, body: Json | None) -> Json:
        """Ask with one key, and again while the answer is to come again later."""
        request = Request(  # noqa: S310 - our own server
            f"{self.base}/api/v1{path}",
            None if body is None else json.dumps(body).encode(),
            {
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid.uuid4()),
                **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
            },
            method=method,
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                with urlopen(request, timeout=2 * WAIT_SECONDS) as answer:  # noqa: S310
                    return dict(json.loads(answer.read()))
            except HTTPError as error:
                said = error.read().decode()
                if error.code != 503 or time.monotonic() > deadline:
                    raise OperationError(
                        f"{method} {path}: {error.code} {said}"
                    ) from None
                time.sleep(0.5)
