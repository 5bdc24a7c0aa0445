"""Subscriptions over WebSocket: what is told when a slot reaches a commitment.

Source: agave rpc/src/rpc_pubsub.rs. There is no replay: what happens while a client is
away is told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from solders.pubkey import Pubkey

from .call import API_VERSION, Call, pubkey, signature
from .chain import Block, Chain, Record
from .encoding import encode_account
from .errors import METHOD_NOT_FOUND, RpcError, invalid


class Socket(Protocol):
    """One client's connection."""

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message soon."""
        ...


@dataclass(slots=True)
class Subscription:
    """A wish of one client to be told of slots after ``last``."""

    number: int
    kind: str
    socket: Socket
    commitment: str
    last: int
    key: Pubkey | None = None
    signature: str = ""
    encoding: str = "binary"


class Subscriptions:
    """All subscriptions to a chain; ``publish`` after each advance.

    ``silent`` says of a notification's method whether that one is lost.
    """

    def __init__(self, chain: Chain, silent: Callable[[str], bool]) -> None:
        self.chain, self.silent = chain, silent
        self.live: dict[int, Subscription] = {}
        self._numbers = count(1)
        self._told = chain.tip.slot

    def request(self, socket: Socket, method: str, call: Call) -> Any:
        """Subscribe or unsubscribe; other methods are not for WebSocket."""
        kind = method.removesuffix("Unsubscribe").removesuffix("Subscribe")
        if kind not in ("logs", "slot", "signature", "account") or kind == method:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        if method.endswith("Unsubscribe"):
            number = call.number(0)
            owned = self.live.get(number)
            if owned is None or owned.socket is not socket:
                raise invalid("Invalid subscription id.")
            del self.live[number]
            return True
        config = call.config(1)
        call.slot(config)
        commitment = config.get("commitment") or "finalized"
        made = Subscription(
            next(self._numbers), kind, socket, commitment, self._top(commitment)
        )
        getattr(self, f"_{kind}")(made, call)
        self.live[made.number] = made
        return made.number

    def publish(self) -> None:
        """Tell everybody what has reached their commitment since the last time."""
        for made in list(self.live.values()):
            if made.kind == "slot":
                for slot in self.chain.between(self._told + 1, self.chain.tip.slot):
                    self._tell(made, self._slot_news(self.chain.blocks[slot]))
                continue
            top = self._top(made.commitment)
            for slot in self.chain.between(made.last + 1, top):
                news = _NEWS[made.kind](made, self.chain, self.chain.blocks[slot])
                for value in news:
                    self._tell(made, _context(slot, value))
                    if made.kind == "signature":
                        self.live.pop(made.number, None)
            made.last = max(made.last, top)
        self._told = self.chain.tip.slot

    def close(self, socket: Socket) -> None:
        """Forget what a client wanted."""
        for number in [n for n, made in self.live.items() if made.socket is socket]:
            del self.live[number]

    def _top(self, commitment: str) -> int:
        """Return the highest slot that is whole: nothing is told of the open one."""
        ladder = self.chain.ladder()
        return min(ladder.of(commitment), self.chain.tip.parent)

    def _tell(self, made: Subscription, result: Any) -> None:
        method = f"{made.kind}Notification"
        if not self.silent(method):
            params = {"result": result, "subscription": made.number}
            made.socket.tell({"jsonrpc": "2.0", "method": method, "params": params})

    def _slot_news(self, block: Block) -> dict[str, int]:
        root = self.chain.ladder().finalized
        return {"slot": block.slot, "parent": block.parent, "root": root}

    def _slot(self, made: Subscription, call: Call) -> None:
        """Wish for every new slot."""

    def _logs(self, made: Subscription, call: Call) -> None:
        """Wish for the logs of all transactions, or of those that name an address."""
        call.need(1)
        wanted = call.params[0]
        if wanted in ("all", "allWithVotes"):
            return
        mentions = wanted.get("mentions") if isinstance(wanted, dict) else None
        if not isinstance(mentions, list):
            raise invalid("Invalid params: expected `all` or `mentions`.")
        if len(mentions) != 1:
            raise invalid("Invalid Request: Only 1 address supported")
        made.key = pubkey(str(mentions[0]))

    def _account(self, made: Subscription, call: Call) -> None:
        """Wish for an account whenever it was written."""
        made.key = pubkey(call.text(0))
        made.encoding = call.config(1).get("encoding") or "binary"

    def _signature(self, made: Subscription, call: Call) -> None:
        """Wish for the end of a transaction, also one that is there."""
        signature(call.text(0))
        made.signature = call.text(0)
        record = self.chain.by_signature.get(made.signature)
        if record is not None:
            made.last = min(made.last, record.slot - 1)


def _context(slot: int, value: Any) -> dict[str, Any]:
    return {"context": {"apiVersion": API_VERSION, "slot": slot}, "value": value}


def _log_news(made: Subscription, chain: Chain, block: Block) -> Iterator[Any]:
    for record in block.records:
        if made.key is None or made.key in record.done.keys:
            told = record.done.told
            yield {"signature": record.signature, "err": told.error, "logs": told.logs}


def _signature_news(made: Subscription, chain: Chain, block: Block) -> Iterator[Any]:
    record: Record | None = chain.by_signature.get(made.signature)
    if record is not None and record.slot == block.slot:
        yield {"err": record.done.told.error}


def _account_news(made: Subscription, chain: Chain, block: Block) -> Iterator[Any]:
    if made.key is None or made.key not in block.before:
        return
    account = chain.account_at(made.key, block.slot)
    if account is not None and account != block.before[made.key]:
        yield encode_account(account, made.encoding)


_NEWS: dict[str, Callable[[Subscription, Chain, Block], Iterator[Any]]] = {
    "logs": _log_news,
    "signature": _signature_news,
    "account": _account_news,
}
