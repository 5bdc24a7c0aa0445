"""Subscriptions over WebSocket: told at their commitment, and silent about the past."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from solders.keypair import Keypair

from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry
from devnet.solana.run import SolanaNode

pytestmark = pytest.mark.chain
CONFIRMED = {"commitment": "confirmed"}


class Listener:
    """One WebSocket, spoken to from a test that blocks."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.waiting: list[dict[str, Any]] = []

    async def ask(self, method: str, *params: object) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 9, "method": method, "params": list(params)}
        await self.socket.send_json(request)
        while True:
            message = await self.socket.receive_json(timeout=5)
            if message.get("id") == 9:
                return message
            self.waiting.append(message)

    async def news(self, count: int = 1) -> list[dict[str, Any]]:
        while len(self.waiting) < count:
            self.waiting.append(await self.socket.receive_json(timeout=5))
        found, self.waiting = self.waiting[:count], self.waiting[count:]
        return [one["params"]["result"] for one in found]

    async def silence(self) -> bool:
        """Whether nothing came: an answer to a question comes after all news."""
        await self.ask("slotUnsubscribe", 10**6)
        return not self.waiting


def listen(node: SolanaNode, story: Callable[[Listener], Awaitable[None]]) -> None:
    async def run() -> None:
        async with (
            ClientSession() as session,
            session.ws_connect(node.ws_url) as socket,
        ):
            await story(Listener(socket))

    asyncio.run(run())


def test_logs_come_at_their_commitment(solana_node, chain):
    author = chain.payer.pubkey()

    async def story(listener: Listener) -> None:
        for level in ("confirmed", "finalized"):
            await listener.ask(
                "logsSubscribe", {"mentions": [str(author)]}, {"commitment": level}
            )
        call = ledger.emit(author, bytes(32), Entry((1,)), [author])
        signature = chain.post(chain.sign([call]))
        Devnet(chain.rpc.url).fund()  # mentions another
        [first] = await listener.news()
        assert first["value"]["signature"] == signature
        assert first["value"]["err"] is None
        assert any("Program data: " in line for line in first["value"]["logs"])
        assert first["context"]["slot"] == chain.transaction(signature)["slot"]
        assert await listener.silence()
        chain.advance(32)
        # Also what was there before and was not final: the fixture's lamports.
        assert first == (await listener.news(2))[1]

    listen(solana_node, story)


def test_failures_are_told_too(solana_node, chain):
    async def story(listener: Listener) -> None:
        await listener.ask("logsSubscribe", "all", CONFIRMED)
        chain.post(chain.sign([ledger.fail(7)]), skipPreflight=True)
        chain.advance()
        [told] = await listener.news()
        assert told["value"]["err"] == {"InstructionError": [0, {"Custom": 7}]}

    listen(solana_node, story)


def test_slots_signatures_and_accounts(solana_node, chain):
    key = Keypair().pubkey()

    async def story(listener: Listener) -> None:
        await listener.ask("slotSubscribe")
        slot = chain.advance()
        [told] = await listener.news()
        assert (told["slot"], told["parent"]) == (slot, slot - 1)
        number = (await listener.ask("accountSubscribe", str(key), {
            **CONFIRMED, "encoding": "base64"}))["result"]  # fmt: skip
        signature = chain.call("requestAirdrop", str(key), 10**9)
        await listener.ask("signatureSubscribe", signature, CONFIRMED)
        chain.advance()
        by_kind = await listener.news(3)
        values = [one["value"] for one in by_kind if "value" in one]
        assert {"err": None} in values
        assert [v["lamports"] for v in values if "lamports" in v] == [10**9]
        assert (await listener.ask("accountUnsubscribe", number))["result"] is True
        again = await listener.ask("accountUnsubscribe", number)
        assert again["error"]["message"] == "Invalid subscription id."

    listen(solana_node, story)


def test_a_signature_that_is_there_is_told(solana_node, chain):
    signature = chain.send(ledger.mark(1, 2))

    async def story(listener: Listener) -> None:
        await listener.ask("signatureSubscribe", signature, CONFIRMED)
        chain.advance()
        [told] = await listener.news()
        assert told["value"] == {"err": None}
        chain.advance(3)
        assert await listener.silence()

    listen(solana_node, story)


def test_notifications_are_lost(solana_node, chain):
    async def story(listener: Listener) -> None:
        await listener.ask("slotSubscribe")
        chain.fault(kind="mute", skip=1, times=2)
        first = chain.advance()
        chain.advance(2)
        last = chain.advance()
        assert [one["slot"] for one in await listener.news(2)] == [first, last]
        assert await listener.silence()

    listen(solana_node, story)


def test_a_cut_is_no_replay(solana_node, chain):
    """What happens while nobody listens is told to nobody."""
    author = chain.payer.pubkey()

    async def before(listener: Listener) -> None:
        await listener.ask("logsSubscribe", {"mentions": [str(author)]}, CONFIRMED)
        assert chain.call("devnet_cutSockets") == 1
        message = await listener.socket.receive(timeout=5)
        assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)

    async def after(listener: Listener) -> None:
        await listener.ask("logsSubscribe", {"mentions": [str(author)]}, CONFIRMED)
        assert await listener.silence()
        signature = chain.send(ledger.mark(5, 6))
        [told] = await listener.news()
        assert told["value"]["signature"] == signature

    listen(solana_node, before)
    chain.send(ledger.mark(3, 4))
    listen(solana_node, after)


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("blockSubscribe", ["all"], "Method not found"),
        ("getSlot", [], "Method not found"),
        ("logsSubscribe", [{"mentions": ["1" * 32, "1" * 32]}], "Only 1 address"),
        ("logsSubscribe", [{}], "mentions"),
        ("logsSubscribe", [], "at least 1 argument"),
        ("accountSubscribe", ["xyz"], "WrongSize"),
    ],
)
def test_bad_subscriptions_are_told(solana_node, chain, method, params, words):
    async def story(listener: Listener) -> None:
        assert words in (await listener.ask(method, *params))["error"]["message"]

    listen(solana_node, story)
