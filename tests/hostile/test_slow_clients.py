"""Clients that send or read slowly: the others are answered all the same."""

import contextlib
import json
import time

import pytest

from ops.serve import READ_SECONDS

pytestmark = pytest.mark.slow

SOON = 5  # seconds: what a request may take on a busy machine
HALF = (
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: h\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
)
CHUNKED = (
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: h\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
)
LARGE = HALF.replace(b"Length: 100", b"Length: 9000000")


@contextlib.contextmanager
def many(served, count, sent):
    """Connections that each sent this and no more."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = stack.enter_context(served.connect())
            connection.sendall(sent)
            found.append(connection)
        yield found


def answers(served):
    """That all kinds of requests are answered, each in a bounded time."""
    for path in ("/health/live", "/health/ready", "/api/v1/campaigns", "/api/v1/"):
        status, _ = served.ask("GET", path, timeout=SOON)
        assert status in (200, 422, 503), path  # no chain is followed here
    who = json.dumps({"login": "nobody", "password": "wrong"}).encode()
    assert served.post("/api/v1/auth/token", who, timeout=SOON)[0] == 401


@pytest.mark.parametrize(
    "sent",
    [HALF, CHUNKED, LARGE, HALF[:60], b""],
    ids=["half", "chunked", "large", "head", "nothing"],
)
def test_half_sent_requests_keep_nobody_waiting(lives, sent):
    with many(lives, 100, sent):
        answers(lives)


def test_a_body_that_does_not_come_is_answered_and_its_connection_closed(lives):
    with many(lives, 1, HALF) as (connection,):
        connection.settimeout(30)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"/docs#slow_body" in answer
        while connection.recv(4096):
            pass


def test_only_some_large_bodies_are_read_at_a_time(lives):
    with many(lives, 12, LARGE) as connections:
        refused = 0
        for connection in connections:
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                refused += b"/docs#busy" in connection.recv(4096)
    assert 4 == refused


def test_a_body_in_chunks_is_read_as_one(lives):
    who = json.dumps({"login": "nobody", "password": "wrong"}).encode()
    parts = b"".join(b"%x\r\n%s\r\n" % (1, who[i : i + 1]) for i in range(len(who)))
    head = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\nConnection: close\r\n\r\n"

    with many(lives, 1, head + parts + b"0\r\n\r\n") as (connection,):
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_body_in_chunks_without_end_is_refused(lives):
    head = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    with many(lives, 1, head) as (connection,):
        connection.settimeout(30)
        with contextlib.suppress(OSError):  # they close while we send
            for _ in range(20):
                connection.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_too_large_is_refused_before_it_is_sent(lives):
    head = HALF.replace(b"Length: 100", b"Length: 99000000000")
    with many(lives, 1, head) as (connection,):
        connection.settimeout(SOON)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_who_reads_nothing_keeps_nobody_waiting(lives):
    ask = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: h\r\n\r\n"
    with many(lives, 100, ask):
        answers(lives)


def test_who_reads_nothing_is_dropped_in_the_end(lives):
    ask = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: h\r\n\r\n"
    times = 200  # more than the kernel keeps for it
    whole = times * len(lives.ask("GET", "/api/v1/openapi.json")[1])
    read = 0
    with lives.connect(receive_bytes=2048) as connection:
        connection.sendall(ask * times)
        time.sleep(2 * READ_SECONDS)  # the kernel looks ever more seldom
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while part := connection.recv(1 << 20):
                read += len(part)
    assert 0 < read < whole / 10


@pytest.mark.parametrize(
    "path", ["/%00", "/%ff", "/%C3%A9/%2e%2e/x", "//x", "/a%0d%0ab", "/?a=%00", "*"]
)
def test_odd_addresses_are_answered(lives, path):
    assert lives.ask("GET", path)[0] in (400, 404)


def test_headers_are_read_as_they_were_sent(lives):
    status, content = lives.ask(
        "GET", "/api/v1/auth/me", Authorization="Bearer \xff\xe9", X_API_Key="é"
    )
    assert 401 == status
    assert lives.ask("HEAD", "/health/live") == (200, b"")
    assert lives.ask("OPTIONS", "/api/v1/auth/token")[0] == 200
    assert lives.ask("BREW", "/api/v1/auth/token")[0] == 405
