"""Wake the follower when a node tells of a transaction that names a followed address.

A notification of `logsSubscribe` (agave, rpc/src/rpc_pubsub.rs) is a reason to poll now
and nothing else: what it says is not read, let alone stored. Nodes repeat none that
were missed, drop some, and may make some up; polling finds everything without them.

The URL may hold a key, so logs and errors have the host alone.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from db.bounded import load_json
from db.urls import hide, secrets_of
from idl.base58 import to_base58
from indexer.errors import Retryable

ADDRESSES_MAX = 64  # subscriptions of one connection; those beyond are polled for
MESSAGE_BYTES_MAX = 1 << 20  # logs have 10 kB for each transaction
DEPTH_MAX = 16
OPEN_SECONDS = 15.0  # to connect, and for the answer to each request
HEARTBEAT_SECONDS = 20.0  # a ping that is not answered in half of that ends it
STEADY_SECONDS = 60.0  # a connection that lived for so long was a good one
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0

log = logging.getLogger(__name__)

# What a connection ends with; aiohttp's errors on a proxy or redirect among them.
_Ended = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class NotSubscribed(ValueError):
    """No subscription was accepted, or the node closed the connection."""


class Waker:
    """A connection to one of some WebSockets, and the subscriptions on it.

    Each new connection begins with a wake-up: nobody tells what happened before it.
    """

    def __init__(
        self,
        chain: str,
        urls: Sequence[str],
        addresses: Sequence[bytes],
        woken: asyncio.Event,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._chain = chain
        self._urls = urls
        self._addresses = sorted(addresses)[:ADDRESSES_MAX]
        self._left_out = len(addresses) - len(self._addresses)
        self._woken = woken
        self._sleep = sleep

    async def run(self) -> None:
        """Keep a connection, for ever; one that ends is followed by a pause.

        The pause is exponential with full jitter; the next URL has its turn.
        """
        failures = 0
        if self._left_out:
            log.warning(
                "wake_ups_left_out chain=%s addresses=%d", self._chain, self._left_out
            )
        for turn in itertools.count():
            url = self._urls[turn % len(self._urls)]
            began = time.monotonic()
            try:
                await self._listen(url)
            except _Ended as error:
                steady = time.monotonic() - began >= STEADY_SECONDS
                failures = 1 if steady else failures + 1
                self._tell("wake_ups_ended", url, error)
            ceiling = FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 16)
            pause = min(ceiling, LONGEST_PAUSE_SECONDS)
            await self._sleep(random.uniform(pause / 10, pause))  # noqa: S311

    async def try_once(self, url: str) -> None:
        """Connect, subscribe and close; raises Retryable without secrets of the URL."""
        try:
            await self._listen(url, once=True)
        except _Ended as error:
            raise Retryable(f"{_label(url)}: {_cause(url, error)}") from None

    async def _listen(self, url: str, *, once: bool = False) -> None:
        """Take notifications until the connection ends; raises one of `_Ended`.

        With `once` it ends when the node has accepted the subscriptions.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=OPEN_SECONDS)
        async with aiohttp.ClientSession(timeout=limits) as session:
            async with asyncio.timeout(OPEN_SECONDS):
                socket = await session.ws_connect(
                    url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX
                )
            async with socket:
                await self._subscribe(socket, url)
                while not once:
                    await self._receive(socket)

    async def _subscribe(
        self, socket: aiohttp.ClientWebSocketResponse, url: str
    ) -> None:
        """Subscribe for one address after another: nodes take one for each."""
        accepted = 0
        for number, address in enumerate(self._addresses):
            mentions = {"mentions": [to_base58(address)]}
            params = [mentions, {"commitment": "confirmed"}]
            request = {"jsonrpc": "2.0", "id": number, "method": "logsSubscribe"}
            await socket.send_json({**request, "params": params})
            async with asyncio.timeout(OPEN_SECONDS):
                answer: Any = None
                while not isinstance(answer, dict) or answer.get("id") != number:
                    answer = await self._receive(socket, whole=True)
            if "result" in answer:
                accepted += 1
            else:
                error = NotSubscribed(str(answer.get("error")))
                self._tell("wake_ups_refused", url, error)
        if not accepted:
            raise NotSubscribed("no subscription was accepted")
        self._woken.set()
        log.info(
            "wake_ups_open chain=%s endpoint=%s addresses=%d",
            self._chain, _label(url), accepted,
        )  # fmt: skip

    async def _receive(
        self, socket: aiohttp.ClientWebSocketResponse, *, whole: bool = False
    ) -> Any:
        """Return the next message; a notification wakes the follower.

        While a wake-up waits to be taken, more of them are not even parsed, unless
        `whole` asks for what is in them.
        """
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise NotSubscribed(f"the connection ended: {message.type.name}")
        if self._woken.is_set() and not whole:
            return None
        content = message.data.encode()
        said = load_json(content, bytes_max=MESSAGE_BYTES_MAX, depth_max=DEPTH_MAX)
        if isinstance(said, dict) and said.get("method") == "logsNotification":
            self._woken.set()
        return said

    def _tell(self, event: str, url: str, error: Exception) -> None:
        log.warning(
            "%s chain=%s endpoint=%s cause=%s",
            event, self._chain, _label(url), _cause(url, error),
        )  # fmt: skip


def _cause(url: str, error: Exception) -> str:
    """Return what an error says, without the secrets of the URL."""
    return f"{type(error).__name__}: {hide(secrets_of(url), error)}"


def _label(url: str) -> str:
    """The host of a URL and its port, without anything that may be secret."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
