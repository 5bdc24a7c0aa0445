"""The front's bounds on bodies: what is held until a request is answered counts."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import orjson
import pytest

from api.front import Front, FrontOptions

PART = bytes(range(256)) * 4


class Protocol:
    """One request as granian gives it: its body in parts, and its answer."""

    def __init__(self, *parts):
        self.parts = parts
        self.answered = None

    async def __aiter__(self):
        for part in self.parts:
            await asyncio.sleep(0)
            yield part

    def response_bytes(self, status, headers, body):
        self.answered = (status, body)

    async def client_disconnect(self):
        await asyncio.Event().wait()


def request(length):
    return SimpleNamespace(
        proto="http", method="POST", path="/api/v1/x", query_string="", scheme="http",
        http_version="1.1", server="127.0.0.1:8080", client="127.0.0.1:9",
        headers={"content-length": str(length)},
    )  # fmt: skip


class App:
    """Answers with the length of the body, when it is let."""

    def __init__(self):
        self.go = threading.Event()
        self.began = threading.Semaphore(0)

    def __call__(self, environ, start_response):
        self.began.release()
        assert self.go.wait(10)
        body = str(len(environ["wsgi.input"].read())).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def app():
    made = App()
    yield made
    made.go.set()


def test_bodies_count_until_their_requests_are_answered(app):
    """Read and waiting for a thread, they would else take memory without bound."""
    room = FrontOptions(body_bytes_max=1 << 20, buffer_bytes=5 * len(PART))

    async def go():
        front = Front(app, room)
        first = Protocol(PART, PART, PART)
        serving = asyncio.create_task(front.__rsgi__(request(3 * len(PART)), first))
        await asyncio.to_thread(app.began.acquire)
        second = Protocol(PART, PART, PART)
        await front.__rsgi__(request(3 * len(PART)), second)
        app.go.set()
        await serving
        third = Protocol(PART, PART, PART)
        await front.__rsgi__(request(3 * len(PART)), third)
        return first.answered, second.answered, third.answered

    first, second, third = asyncio.run(go())

    assert first == third == (200, str(3 * len(PART)).encode())
    assert second[0] == 503
    assert orjson.loads(second[1])["type"].endswith("#busy")


def test_a_body_that_is_refused_gives_its_room_back(app):
    app.go.set()
    room = FrontOptions(body_bytes_max=1 << 20, buffer_bytes=4 * len(PART))

    async def go():
        front = Front(app, room)
        found = []
        for _ in range(5):
            short = Protocol(PART, PART)  # ends before its length
            await front.__rsgi__(request(3 * len(PART)), short)
            whole = Protocol(PART, PART, PART)
            await front.__rsgi__(request(3 * len(PART)), whole)
            found.append((short.answered[0], whole.answered[0]))
        return found

    assert asyncio.run(go()) == [(408, 200)] * 5
