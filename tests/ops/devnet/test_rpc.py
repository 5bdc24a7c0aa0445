"""The plain client: batches in order, errors with their method, lines that drop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import BinaryIO

import orjson
import pytest

from devnet.rpc import BATCH_MAX, Rpc, RpcError, UnreachableError


class Node:
    """Answers JSON-RPC by a rule, and may hang up without a word after each answer."""

    def __init__(self, *, hang_up: bool) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.hang_up = hang_up
        self.bodies: list[object] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            with line, line.makefile("rwb") as stream:
                while self.answer(stream) and not self.hang_up:
                    pass

    def answer(self, stream: BinaryIO) -> bool:
        length = 0
        while (header := stream.readline().strip()) != b"":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        if not length:
            return False
        body = orjson.loads(stream.read(length))
        self.bodies.append(body)
        calls = body if isinstance(body, list) else [body]
        answers = [answer(call) for call in reversed(calls)]
        reply = orjson.dumps(answers if isinstance(body, list) else answers[0])
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply))
        stream.write(reply)
        stream.flush()
        return True


def answer(call: dict[str, object]) -> dict[str, object]:
    if call["method"] == "fail":
        error = {"code": -32000, "message": "refused", "data": "0x1234"}
        return {"id": call["id"], "error": error}
    return {"id": call["id"], "result": call["params"]}


@pytest.fixture(params=[False, True], ids=["keeps the line", "hangs up"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    node = Node(hang_up=request.param)
    yield node
    node.listener.close()


def test_calls_are_answered_once_even_when_the_line_was_dropped(node: Node) -> None:
    rpc = Rpc(node.url)

    answers = [rpc.call("echo", number) for number in range(5)]

    assert answers == [[number] for number in range(5)]
    assert len(node.bodies) == 5


def test_batch_is_split_and_keeps_its_order(node: Node) -> None:
    """The node answers each batch in reverse, as it may."""
    rpc = Rpc(node.url)

    answers = rpc.batch([("echo", [number]) for number in range(BATCH_MAX + 5)])

    assert answers == [[number] for number in range(BATCH_MAX + 5)]
    assert [len(body) for body in node.bodies] == [BATCH_MAX, 5]


def test_error_names_the_method_and_keeps_the_data(node: Node) -> None:
    with pytest.raises(RpcError, match="fail: refused") as caught:
        Rpc(node.url).batch([("echo", []), ("fail", [])])
    assert caught.value.data == "0x1234"


def test_nobody_there_is_said(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UnreachableError, match="is it running"):
        Rpc(url).call("echo")


def test_only_plain_local_addresses_are_taken() -> None:
    with pytest.raises(ValueError, match="http://"):
        Rpc("https://somewhere")
