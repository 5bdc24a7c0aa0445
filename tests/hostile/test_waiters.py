"""Who hangs up while it waits gives its place to the next, at once."""

import contextlib
import time
from datetime import UTC, datetime

import pytest

from api.waiting import WAITERS_OF_ONE
from helpers import servers
from helpers.ledger_of_commands import fill

pytestmark = pytest.mark.slow

SOON = 5  # seconds; a stream is silent for fifteen


def test_a_stream_that_was_left_is_noticed(lives):
    token = lives.signed_in("operator")
    with servers.engine_on(lives.url) as engine:
        waiting = fill(engine, datetime.now(UTC))["waiting"]
    path = f"/api/v1/commands/{waiting}"
    head = f"GET {path}/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"

    def status(**more):
        asked = {"Authorization": f"Bearer {token}", **more}
        return lives.ask("GET", f"{path}?wait=1", **asked)[0]

    with contextlib.ExitStack() as stack:
        for _ in range(WAITERS_OF_ONE):
            stream = stack.enter_context(lives.connect())
            stream.sendall(f"{head}\r\n".encode())
            assert b" 200 " in stream.recv(4096)
        assert 429 == status()
    deadline = time.monotonic() + SOON
    while status() == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)
