"""The interface of a node as the write side asks it, and the meaning of answers."""

from dataclasses import dataclass
from typing import Protocol

from commands.errors import NodeAway, Refused
from db.commands.states import Hold

# What nodes say to signed bytes (geth, Erigon, anvil, Polygon Edge), in lower case.
_FUNDS = ("insufficient funds",)
_FULL = (
    "txpool is full",
    "maximum number of enqueued transactions reached",
    "rejected future tx due to low slots",
)
_KNOWN = (
    "already known",
    "alreadyknown",
    "already exists",
    "already imported",
    "known transaction",
)
# The nonce was used, or the node has dearer bytes for it: the index will tell whose.
_OUTRUN = ("nonce too low", "replacement")


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's answer to signed bytes, and the hash that it answered, if it did.

    Up to Polygon Edge 0.9 a node answers a hash and drops the bytes all the same when
    it holds others for the nonce, or when the account's queue is full: no answer says
    that a node has the bytes.
    """

    text: str
    hash: bytes | None = None

    @property
    def hold(self) -> Hold:
        """The hold that it advises for the nonces after this one."""
        if self._says(_FUNDS):
            return Hold.FUNDS
        return Hold.POOL if self._says(_FULL) else Hold.NO

    @property
    def accepted(self) -> bool:
        """Whether the node accepted the bytes, or has them already."""
        return self.hash is not None or self._says(_KNOWN)

    @property
    def rank(self) -> tuple[bool, ...]:
        """The precedence among answers of several nodes; the highest is reported."""
        return self.accepted, self.hash is not None

    @property
    def refused(self) -> bool:
        """Whether the node rejected these bytes, judged by its message."""
        return not (self.accepted or self._says(_OUTRUN))

    def _says(self, words: tuple[str, ...]) -> bool:
        lowered = self.text.lower()
        return any(each in lowered for each in words)


class Node(Protocol):
    """The nodes of a chain as the write side asks them; all may raise NodeAway."""

    def gas_price(self) -> int:
        """The price that the node suggests, in wei."""
        ...

    def priority_fee(self) -> int:
        """The tip that the node suggests, in wei (EIP-1559)."""
        ...

    def send(self, raw: bytes) -> Answer:
        """Send signed bytes; returns the node's answer, which decides nothing."""
        ...

    def simulate(self, sender: bytes, to: bytes, value: int, data: bytes) -> int:
        """The gas that a call would use; raises Reverted, and NoMoney."""
        ...

    def replay(self, mined: "Mined") -> "Reverted | None":
        """Return why a call failed in its block; None: run again, it does not fail."""
        ...

    def head(self) -> int:
        """The node's highest block."""
        ...

    def nonce(self, address: bytes, height: int | None = None) -> int:
        """Return the number of an account's transactions in blocks, up to a height."""
        ...

    def balance(self, address: bytes) -> int:
        """Return the balance of an account in wei."""
        ...


@dataclass(frozen=True, slots=True)
class Mined:
    """A call that was in a block; its value is in wei."""

    sender: bytes
    to: bytes
    value: int
    data: bytes
    gas_limit: int
    height: int


class Reverted(Refused):
    """The call would revert with this data; the message is the node's."""

    def __init__(self, data: bytes, message: str) -> None:
        super().__init__(message)
        self.data = data


class NoMoney(NodeAway):
    """The account cannot pay for the call: so nothing is known about the call."""
