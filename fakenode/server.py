"""Nodes behind HTTP and WebSocket, on one address of the loopback.

Several nodes behind one server answer in turn, as behind a load balancer. A WebSocket
takes the same requests, and `eth_subscribe` to `newHeads` and `logs`; `notify` tells
the subscribers of new blocks, and loses, repeats and makes up some of them.
"""

import asyncio
import hashlib
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import WSMsgType, web

from fakenode.answers import Answer
from fakenode.chain import Block
from fakenode.encoding import to_hex
from fakenode.node import Node

NOTICES = ("lost", "repeated", "made up")
T = TypeVar("T")


class Server:
    """Serves for the length of a `with` block; `hang_seconds` is how long a hang takes.

    `lost_share` of the notifications are lost, repeated or made up, by
    hash(seed, subscription, height). `latency` gives the seconds before each answer.
    """

    def __init__(
        self, nodes: Sequence[Node], *, port: int = 0, hang_seconds: float = 0.5,
        lost_share: float = 0.0, seed: int = 0,
        latency: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self.nodes, self.port = list(nodes), port
        self.hang_seconds = hang_seconds
        self.lost_share, self.seed = lost_share, seed
        self.latency, self.url = latency, ""
        self._turn = itertools.cycle(self.nodes)
        self._subscribers: dict[str, tuple[web.WebSocketResponse, str]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        self.url = self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def notify(self, block: Block) -> None:
        """Tell subscribers of a new block."""
        self._call(self._notify(block))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> str:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{tail:.*}", self._post)
        app.router.add_get("/{tail:.*}", self._socket)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self.port}"

    async def _stop(self) -> None:
        for socket, _ in list(self._subscribers.values()):
            await socket.close()
        await self._runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        answer = next(self._turn).answer(await request.read())
        if self.latency is not None:
            await asyncio.sleep(self.latency())
        if answer.trouble == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer.trouble == "hang":
            await asyncio.sleep(self.hang_seconds)
        return web.Response(
            body=answer.body, status=answer.status, headers=answer.headers
        )

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        if not socket.can_prepare(request).ok:
            return web.Response(status=405, text="POST JSON-RPC here")
        await socket.prepare(request)
        node = next(self._turn)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            answer = self._subscribed(socket, message.data)
            if answer is None:
                answer = node.answer(message.data.encode())
            if answer.trouble:
                await socket.close()
                break
            await socket.send_str(answer.body.decode())
        self._forget(socket)
        return socket

    def _subscribed(self, socket: web.WebSocketResponse, text: str) -> Answer | None:
        """The answer to eth_subscribe and eth_unsubscribe; None for other calls."""
        try:
            call = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(call, dict) or call.get("method") not in (
            "eth_subscribe", "eth_unsubscribe",
        ):  # fmt: skip
            return None
        params = call.get("params") or [""]
        result: Any
        if call["method"] == "eth_unsubscribe":
            result = self._subscribers.pop(params[0], None) is not None
        elif params[0] in ("newHeads", "logs"):
            result = hex(len(self._subscribers) + 1 + id(socket) % 2**32 * 256)
            self._subscribers[result] = (socket, params[0])
        else:
            error = {"code": -32601, "message": f"no {params[0]!r} subscription"}
            body = {"jsonrpc": "2.0", "id": call.get("id"), "error": error}
            return Answer(orjson.dumps(body))
        return Answer(
            orjson.dumps({"jsonrpc": "2.0", "id": call.get("id"), "result": result})
        )

    def _forget(self, socket: web.WebSocketResponse) -> None:
        for name, (other, _) in list(self._subscribers.items()):
            if other is socket:
                del self._subscribers[name]

    async def _notify(self, block: Block) -> None:
        node = self.nodes[0]
        for name, (socket, kind) in list(self._subscribers.items()):
            for told in self._notices(node, block, name, kind):
                params = {"subscription": name, "result": told}
                message = {
                    "jsonrpc": "2.0",
                    "method": "eth_subscription",
                    "params": params,
                }
                await socket.send_str(orjson.dumps(message).decode())

    def _notices(
        self, node: Node, block: Block, name: str, kind: str
    ) -> list[dict[str, Any]]:
        """Return the notifications of a block for one subscriber."""
        if kind == "logs":
            # Edge up to 1.1.0 pushes every log with index 0.
            told = [node.tell_log(block, *place) for place in block.logs]
            if node.profile.log_index == "transaction":
                told = [log | {"logIndex": "0x0"} for log in told]
        else:
            told = [node.tell_block(block) | {"transactions": []}]
        digest = hashlib.sha256(f"{self.seed}/{kind}/{block.number}".encode()).digest()
        if int.from_bytes(digest[:4]) / 2**32 >= self.lost_share:
            return told
        fault = NOTICES[digest[4] % len(NOTICES)]
        node.faulted[f"notice {fault}"] += 1
        if fault == "lost":
            return []
        if fault == "repeated":
            return [*told, *told]
        return [each | {"blockHash" if kind == "logs" else "hash": to_hex(digest)}
                for each in told]  # fmt: skip
