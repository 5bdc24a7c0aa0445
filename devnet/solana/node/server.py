"""HTTP and WebSocket in front of the node: JSON-RPC 2.0, single and in batches."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from .call import Call
from .errors import INVALID_REQUEST, PARSE_ERROR, RpcError, invalid
from .faults import CutError, Faults, TooManyError
from .node import Node
from .subscriptions import Subscriptions

BODY_BYTES_MAX = 50 * 1024
"""The most that agave takes in one request, batches too."""

MISTYPED = (TypeError, ValueError, LookupError, AttributeError, OverflowError)
"""Raised by parameters of another type than their method reads; agave's serde names it
before the method is called."""


class Client:
    """A WebSocket; messages wait in a queue for the task that writes them."""

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport | None
    ) -> None:
        self.socket, self.transport = socket, transport
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def tell(self, message: dict[str, Any]) -> None:
        self.queue.put_nowait(orjson.dumps(message))

    async def write(self) -> None:
        """Send what waits, for ever."""
        while True:
            await self.socket.send_str((await self.queue.get()).decode())


class Server:
    """The node behind its faults, on one port for HTTP and WebSocket alike."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.faults = Faults(node)
        self.subscriptions = Subscriptions(node.chain, self.faults.silent)
        self.clients: set[Client] = set()
        self.application = web.Application(client_max_size=BODY_BYTES_MAX)
        self.application.router.add_post("/", self.post)
        self.application.router.add_get("/", self.get)

    async def tick(self, slot_ms: int) -> None:
        """Advance the chain by the clock, for ever."""
        loop = asyncio.get_running_loop()
        due, skipped = loop.time(), 0
        settings = self.node.settings
        chance = random.Random(settings.seed)  # noqa: S311 (which slots are skipped)
        while True:
            due += slot_ms / 1000
            await asyncio.sleep(max(0, due - loop.time()))
            if chance.random() < settings.skip_share:
                skipped += 1
                continue
            self.node.chain.advance(skip=skipped)
            skipped = 0
            self.subscriptions.publish()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer one request or a batch."""
        try:
            asked = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _json(_failure(None, RpcError(PARSE_ERROR, "Parse error")))
        try:
            if isinstance(asked, list):
                answers = [self.reply(one) for one in asked]
                told = [answer for answer in answers if answer is not None]
                empty = RpcError(INVALID_REQUEST, "Invalid request")
                return _json(told if asked else _failure(None, empty))
            return _json(self.reply(asked))
        except TooManyError as error:
            words = {
                "code": 429,
                "message": "Too many requests for a specific RPC call",
            }
            return web.Response(
                status=429,
                body=orjson.dumps({"jsonrpc": "2.0", "error": words, "id": None}),
                headers={"Retry-After": str(error.retry_after)},
                content_type="application/json",
            )
        except CutError as error:
            return await _cut(request, error.sent)

    def reply(self, asked: Any) -> dict[str, Any] | None:
        """Answer one request of JSON-RPC; None for a notification."""
        if not isinstance(asked, dict):
            return _failure(None, RpcError(INVALID_REQUEST, "Invalid request"))
        params = asked.get("params")
        number = asked.get("id")
        try:
            if (
                asked.get("jsonrpc") != "2.0"
                or not isinstance(asked.get("method"), str)
                or not isinstance(params, list | None)
            ):
                raise RpcError(INVALID_REQUEST, "Invalid request")
            result = self._answer(asked["method"], params or [])
        except RpcError as error:
            return _failure(number, error)
        except MISTYPED as error:
            return _failure(number, invalid(f"Invalid params: {error}"))
        if "id" not in asked:
            return None
        return {"jsonrpc": "2.0", "result": result, "id": number}

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method == "devnet_cutSockets":
            return self._cut_sockets()
        result = self.faults.answer(method, params)
        if method in ("devnet_advance", "devnet_fork"):
            self.subscriptions.publish()
        return result

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve a WebSocket until its client goes."""
        socket = web.WebSocketResponse(heartbeat=None)
        await socket.prepare(request)
        client = Client(socket, request.transport)
        self.clients.add(client)
        writer = asyncio.create_task(client.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    client.tell(self._subscribe(client, message.data))
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
            self.clients.discard(client)
            self.subscriptions.close(client)
        return socket

    def _subscribe(self, client: Client, text: str) -> dict[str, Any]:
        number = None
        try:
            asked = orjson.loads(text)
            if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
                raise RpcError(INVALID_REQUEST, "Invalid request")
            number = asked.get("id")
            chain, options = self.node.chain, self.node.settings.options
            call = Call(chain, chain.ladder(), options, asked.get("params") or [])
            result = self.subscriptions.request(client, asked["method"], call)
        except orjson.JSONDecodeError:
            return _failure(None, RpcError(PARSE_ERROR, "Parse error"))
        except RpcError as error:
            return _failure(number, error)
        except MISTYPED as error:
            return _failure(number, invalid(f"Invalid params: {error}"))
        return {"jsonrpc": "2.0", "result": result, "id": number}

    def _cut_sockets(self) -> int:
        """End all WebSockets without a word."""
        cut = list(self.clients)
        for client in cut:
            if client.transport is not None:
                client.transport.abort()
        return len(cut)


async def run(
    node: Node, host: str, ports: list[int], ready: asyncio.Event | None = None
) -> None:
    """Serve on all ports until cancelled."""
    server = Server(node)
    runner = web.AppRunner(server.application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    clock = None
    try:
        for port in ports:
            await web.TCPSite(runner, host, port).start()
        if node.settings.slot_ms:
            clock = asyncio.create_task(server.tick(node.settings.slot_ms))
        if ready is not None:
            ready.set()
        await asyncio.Event().wait()
    finally:
        if clock is not None:
            clock.cancel()
        for client in list(server.clients):
            await client.socket.close()
        await runner.cleanup()


def _json(body: Any) -> web.Response:
    if body is None:
        return web.Response(status=200)
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _failure(number: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": error.encode(), "id": number}


async def _cut(request: web.Request, sent: int) -> web.StreamResponse:
    """Promise an answer, send a part of it, and end the connection."""
    response = web.StreamResponse(headers={"Content-Length": str(sent + 1000)})
    if sent:
        await response.prepare(request)
        await response.write((b'{"jsonrpc":"2.0","result":{' + b" " * sent)[:sent])
    if request.transport is not None:
        request.transport.abort()
    return response
