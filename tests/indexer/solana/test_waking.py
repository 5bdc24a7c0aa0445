"""Notifications make the next poll come at once; nothing else depends on them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import WSMsgType, web

from helpers.solana_following import ADDRESS, REGISTRY, Town, following, stored
from helpers.tables import problems
from idl.base58 import to_base58
from indexer.follow import WOKEN_SECONDS, follow
from indexer.solana import waking
from indexer.solana.waking import ADDRESSES_MAX, MESSAGE_BYTES_MAX, Waker

NEVER = 600.0  # seconds between two polls that no test waits for
NEWS = {"jsonrpc": "2.0", "method": "logsNotification", "params": {"result": {}}}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(waking, "LONGEST_PAUSE_SECONDS", 0.1)


class Nodes:
    """A WebSocket that answers as a test says: `answer(socket, request)`."""

    def __init__(self, answer):
        self.answer = answer
        self.connections = 0
        self.asked = []
        self.open = set()

    async def serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self.open.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    self.asked.append(asked)
                    await self.answer(socket, asked)
        finally:
            self.open.discard(socket)
        return socket

    async def tell(self, message):
        for socket in list(self.open):
            await socket.send_str(message)


@asynccontextmanager
async def nodes(answer):
    found = Nodes(answer)
    application = web.Application()
    application.router.add_get("/{path:.*}", found.serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


async def accept(socket, asked):
    await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": 7})


@asynccontextmanager
async def waking_by(url, *, addresses=(ADDRESS,), woken=None, also=()):
    woken = woken or asyncio.Event()
    task = asyncio.create_task(Waker("sol", [url, *also], addresses, woken).run())
    try:
        yield woken
        assert not task.done(), "it gave up"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition, seconds=10.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never was so"
        await asyncio.sleep(0.01)


async def woken_again(woken, seconds=5.0):
    await asyncio.wait_for(woken.wait(), seconds)
    woken.clear()


async def stays_asleep(woken, seconds=0.3):
    await asyncio.sleep(seconds)
    return not woken.is_set()


class TestAlone:
    """The connection, against a WebSocket that does what a test says."""

    def run(self, story):
        asyncio.run(asyncio.wait_for(story(), 30))

    def test_each_address_has_a_subscription(self):
        async def story():
            addresses = [bytes([n]) * 32 for n in (3, 1, 2)]
            async with (
                nodes(accept) as node,
                waking_by(node.url, addresses=addresses) as woken,
            ):
                await woken_again(woken)
                assert [(each["method"], each["params"]) for each in node.asked] == [
                    (
                        "logsSubscribe",
                        [
                            {"mentions": [to_base58(bytes([n]) * 32)]},
                            {"commitment": "confirmed"},
                        ],
                    )
                    for n in (1, 2, 3)
                ]

        self.run(story)

    def test_a_notification_wakes_and_nothing_else_does(self):
        async def story():
            async with nodes(accept) as node, waking_by(node.url) as woken:
                await woken_again(woken)  # of the connection itself
                for quiet in (
                    "[]",
                    "{}",
                    "7",
                    '"logsNotification"',
                    '{"method": "slotNotification"}',
                    '{"id": 0, "result": 1}',
                    '{"method": ["logsNotification"]}',
                ):
                    await node.tell(quiet)
                assert await stays_asleep(woken)
                for _ in range(3):
                    await node.tell(json.dumps(NEWS))
                    await woken_again(woken)
                assert node.connections == 1

        self.run(story)

    def test_news_between_the_answers_are_taken(self):
        async def answer(socket, asked):
            await socket.send_json(NEWS)
            await accept(socket, asked)

        async def story():
            addresses = [bytes([n]) * 32 for n in range(5)]
            async with (
                nodes(answer) as node,
                waking_by(node.url, addresses=addresses) as woken,
            ):
                await until(lambda: len(node.asked) == 5)
                await woken_again(woken)

        self.run(story)

    def test_there_are_only_so_many_subscriptions(self, caplog):
        async def story():
            addresses = [n.to_bytes(32) for n in range(ADDRESSES_MAX + 9)]
            async with (
                nodes(accept) as node,
                waking_by(node.url, addresses=addresses) as woken,
            ):
                await woken_again(woken)
                assert len(node.asked) == ADDRESSES_MAX

        with caplog.at_level(logging.WARNING):
            self.run(story)
        assert "wake_ups_left_out chain=sol addresses=9" in caplog.text

    def test_one_that_is_refused_leaves_the_others(self, caplog):
        async def answer(socket, asked):
            if asked["id"] == 0:
                error = {"code": -32602, "message": "too many subscriptions"}
                await socket.send_json({"id": 0, "jsonrpc": "2.0", "error": error})
            else:
                await accept(socket, asked)

        async def story():
            addresses = [bytes([n]) * 32 for n in (1, 2)]
            async with (
                nodes(answer) as node,
                waking_by(node.url, addresses=addresses) as woken,
            ):
                await woken_again(woken)
                await node.tell(json.dumps(NEWS))
                await woken_again(woken)

        self.run(story)
        assert "wake_ups_refused" in caplog.text
        assert "too many subscriptions" in caplog.text

    @pytest.mark.parametrize(
        "said",
        [
            "not JSON",
            "[" * 100_000,
            '{"method": "logsNotification", "params": ' + "[" * 20 + "]" * 20 + "}",
            "9" * 10_000,
            json.dumps({**NEWS, "pad": "x" * MESSAGE_BYTES_MAX}),
            b"\xff\xfe",
            None,
        ],
        ids=range(7),
    )
    def test_a_node_that_says_something_else_is_left_and_tried_again(self, said):
        async def answer(socket, asked):
            await accept(socket, asked)
            await asyncio.sleep(0.05)
            if said is None:
                await socket.close()
            elif isinstance(said, bytes):
                await socket.send_bytes(said)
            else:
                await socket.send_str(said)

        async def story():
            async with nodes(answer) as node, waking_by(node.url) as woken:
                for _ in range(2):  # what it said is met each time
                    await woken_again(woken)
                await until(lambda: node.connections >= 3)

        self.run(story)

    def test_one_that_refuses_everything_is_asked_again_and_wakes_nobody(self):
        async def answer(socket, asked):
            error = {"code": -32601, "message": "Method not found"}
            await socket.send_json({"id": asked["id"], "error": error})

        async def story():
            async with nodes(answer) as node, waking_by(node.url) as woken:
                await until(lambda: node.connections >= 3)
                assert not woken.is_set()

        self.run(story)

    def test_one_that_never_answers_is_given_up(self, monkeypatch):
        monkeypatch.setattr(waking, "OPEN_SECONDS", 0.1)

        async def silent(socket, asked):
            """Take it, and say nothing."""

        async def story():
            async with nodes(silent) as node, waking_by(node.url) as woken:
                await until(lambda: node.connections >= 3)
                assert not woken.is_set()

        self.run(story)

    def test_one_that_answers_no_ping_is_given_up(self, monkeypatch):
        monkeypatch.setattr(waking, "HEARTBEAT_SECONDS", 0.1)
        seen = []

        async def serve(reader, writer):
            """A handshake and an accepted subscription, and then nothing, ever."""
            import base64
            import hashlib

            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            [key] = [
                line.split(": ")[1] for line in head.split("\r\n")
                if line.lower().startswith("sec-websocket-key")
            ]  # fmt: skip
            magic = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            told = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
            writer.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Accept: {told}\r\n\r\n".encode()
            )
            body = b'{"id":0,"result":1}'
            writer.write(bytes([0x81, len(body)]) + body)
            seen.append(writer)
            with suppress(ConnectionError):
                while await reader.read(1000):
                    pass
            writer.close()

        async def story():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            async with server, waking_by(f"ws://127.0.0.1:{port}"):
                await until(lambda: len(seen) >= 3)

        self.run(story)

    def test_the_next_url_has_its_turn(self):
        async def story():
            async with (
                nodes(accept) as node,
                waking_by("ws://127.0.0.1:9", also=[node.url]) as woken,
            ):
                await woken_again(woken)

        self.run(story)

    def test_while_a_wake_up_waits_no_message_is_parsed(self, monkeypatch):
        parsed = []
        real = waking.load_json
        monkeypatch.setattr(
            waking, "load_json", lambda *a, **k: parsed.append(1) or real(*a, **k)
        )

        async def story():
            async with nodes(accept) as node, waking_by(node.url) as woken:
                await until(woken.is_set)
                await asyncio.sleep(0.05)
                before = len(parsed)
                for _ in range(200):
                    await node.tell(json.dumps(NEWS))
                await asyncio.sleep(0.1)
                assert len(parsed) == before
                assert node.connections == 1

        self.run(story)

    def test_no_secret_of_the_url_is_told(self, caplog):
        secret = "k3y0fMyProvider1234567890"

        async def closes(socket, asked):
            error = {"message": f"{secret} has no right to this"}
            await socket.send_json({"id": asked["id"], "error": error})

        async def story():
            async with nodes(closes) as node:
                for url in (
                    f"{node.url}/v2/{secret}?api-key={secret}",
                    f"ws://user:{secret}@127.0.0.1:9/{secret}",
                    f"ws://127.0.0.1:9/{secret}",
                ):
                    async with waking_by(url):
                        await asyncio.sleep(0.5)
                assert node.connections >= 1

        with caplog.at_level(logging.DEBUG):
            self.run(story)
        assert caplog.text.count("wake_ups_ended") >= 3
        assert secret not in caplog.text


@pytest.mark.chain
class TestFollowing:
    """The follower itself, on the development node."""

    async def followed(self, engine, node, url, story, poll_seconds=NEVER):
        async with following(engine, [node.url]) as chain:
            stop = asyncio.Event()
            task = asyncio.create_task(follow(chain, stop, poll_seconds=poll_seconds))
            try:
                if url is None:
                    await story(chain)
                else:
                    async with waking_by(url, woken=chain.woken):
                        await story(chain)
                assert not task.done()
            finally:
                stop.set()
                await asyncio.wait_for(task, 10)

    def act(self, town: Town):
        town.act(times=3)
        town.pass_slots(3)

    async def is_there(self, engine, town, seconds=10.0):
        await until(lambda: stored(engine) == town.truth(), seconds)

    def test_what_is_told_is_there_at_once(self, engine, node, town):
        async def story(chain):
            await until(lambda: chain.caught_up)
            for _ in range(4):
                await asyncio.sleep(2 * WOKEN_SECONDS)  # it sleeps, for ten minutes
                await asyncio.to_thread(self.act, town)
                await self.is_there(engine, town)

        asyncio.run(self.followed(engine, node, node.ws_url, story))
        assert len(town.truth()[0]) > 4
        with engine.connect() as connection:
            assert problems(connection, REGISTRY) == []

    def test_without_it_nothing_is_there_before_the_next_poll(self, engine, node, town):
        """What the test before this one measures."""

        async def story(chain):
            await until(lambda: chain.caught_up)
            await asyncio.sleep(2 * WOKEN_SECONDS)
            await asyncio.to_thread(self.act, town)
            await asyncio.sleep(1.5)
            assert stored(engine) != town.truth()

        asyncio.run(self.followed(engine, node, None, story))

    def test_after_a_cut_it_is_told_again(self, engine, node, town):
        async def story(chain):
            await until(lambda: chain.caught_up)
            for _ in range(3):
                await asyncio.to_thread(town.devnet.call, "devnet_cutSockets")
                await asyncio.to_thread(self.act, town)  # perhaps told to nobody
                await self.is_there(engine, town)

        asyncio.run(self.followed(engine, node, node.ws_url, story))

    @pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "ws://127.0.0.1:1/x"])
    def test_a_dead_one_does_not_stop_it(self, engine, node, town, url):
        async def story(chain):
            for _ in range(3):
                await asyncio.to_thread(self.act, town)
                await self.is_there(engine, town)

        asyncio.run(self.followed(engine, node, url, story, poll_seconds=0.2))

    def test_one_that_lies_and_floods_costs_polls_and_nothing_else(
        self, engine, node, town
    ):
        async def flood(socket, asked):
            await accept(socket, asked)
            lie = {"context": {"slot": 2**63}, "value": {"signature": "1" * 88}}
            said = json.dumps({**NEWS, "params": {"result": lie, "subscription": 9}})
            with suppress(ConnectionError):
                while True:
                    await socket.send_str(said)
                    await asyncio.sleep(0.001)

        async def story(chain):
            await until(lambda: chain.caught_up)
            polls = []
            head = chain.source.head

            async def counted():
                polls.append(time.monotonic())
                return await head()

            chain.source.head = counted
            for _ in range(3):
                await asyncio.to_thread(self.act, town)
                await self.is_there(engine, town)
            polls.clear()
            await asyncio.sleep(2)
            assert 2 <= len(polls) <= 2 / WOKEN_SECONDS + 2

        async def run():
            async with nodes(flood) as liar:
                await self.followed(engine, node, liar.url, story)

        asyncio.run(run())
        with engine.connect() as connection:
            assert problems(connection, REGISTRY) == []

    def test_a_silent_one_costs_time_and_nothing_else(self, engine, node, town):
        async def story(chain):
            for _ in range(2):
                await asyncio.to_thread(self.act, town)
                await self.is_there(engine, town)

        async def run():
            async with nodes(accept) as silent:
                await self.followed(engine, node, silent.url, story, poll_seconds=0.5)

        asyncio.run(run())
