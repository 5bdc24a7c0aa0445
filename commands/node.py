"""The node that a signer sends through: one sender, one node."""

from dataclasses import dataclass
from typing import Any, Protocol

from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, Web3Exception, Web3RPCError

from commands.errors import NodeAway, Refused
from db.commands.states import Hold

# What nodes say (geth and Polygon Edge); it is shown and slows down, decides nothing.
_FUNDS = ("insufficient funds",)
_FULL = (
    "txpool is full",
    "maximum number of enqueued transactions reached",
    "rejected future tx due to low slots",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said to bytes, and the hash that it gave them if it took them."""

    text: str
    hash: bytes | None = None

    @property
    def hold(self) -> Hold:
        """What it means for the nonces after this one: advice."""
        said = self.text.lower()
        if any(words in said for words in _FUNDS):
            return Hold.FUNDS
        return Hold.POOL if any(words in said for words in _FULL) else Hold.NO


class Node(Protocol):
    """What the write side asks of a node; every method may raise NodeAway."""

    def gas_price(self) -> int:
        """The price that the node suggests, in wei."""
        ...

    def priority_fee(self) -> int:
        """The tip that the node suggests, in wei (EIP-1559)."""
        ...

    def send(self, raw: bytes) -> Answer:
        """Hand signed bytes over; returns what the node said, which decides nothing."""
        ...

    def simulate(self, sender: bytes, to: bytes, value: int, data: bytes) -> int:
        """The gas that a call would use; raises Refused with the revert data."""
        ...

    def head(self) -> int:
        """The node's highest block."""
        ...

    def nonce(self, address: bytes, height: int | None = None) -> int:
        """How many transactions of an account are in blocks, up to one of them."""
        ...

    def balance(self, address: bytes) -> int:
        """What an account has, in wei."""
        ...


class Reverted(Refused):
    """The call would revert, with this data."""

    def __init__(self, data: bytes, message: str) -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True, slots=True)
class EvmNode:
    """A node over JSON-RPC by web3."""

    web3: Web3

    @classmethod
    def at(cls, url: str, timeout_seconds: float = 10.0) -> "EvmNode":
        """A node by its URL."""
        provider = HTTPProvider(url, request_kwargs={"timeout": timeout_seconds})
        return cls(Web3(provider))

    def gas_price(self) -> int:
        """The price that the node suggests, in wei."""
        return int(self._ask(lambda: self.web3.eth.gas_price))

    def priority_fee(self) -> int:
        """The tip that the node suggests, in wei (EIP-1559)."""
        return int(self._ask(lambda: self.web3.eth.max_priority_fee))

    def send(self, raw: bytes) -> Answer:
        """Hand signed bytes over; the node's refusals are answers too."""
        try:
            sent = self.web3.eth.send_raw_transaction(raw)
        except Web3RPCError as error:
            return Answer(str(error))
        except (Web3Exception, OSError, ValueError) as error:
            raise NodeAway(f"the node did not take the bytes: {error}") from error
        return Answer("taken as 0x" + bytes(sent).hex(), bytes(sent))

    def simulate(self, sender: bytes, to: bytes, value: int, data: bytes) -> int:
        """Estimate the gas; a revert is a final answer."""
        call: Any = {
            "from": Web3.to_checksum_address(sender),
            "to": Web3.to_checksum_address(to),
            "value": value,
            "data": "0x" + data.hex(),
        }
        try:
            return int(self.web3.eth.estimate_gas(call))
        except ContractLogicError as error:
            raise Reverted(_revert_data(error), str(error)) from error
        except Web3RPCError as error:
            body = (error.rpc_response or {}).get("error", {})
            raise Reverted(_hex(body.get("data")), str(error)) from error
        except (Web3Exception, OSError, ValueError) as error:
            raise NodeAway(f"the node could not simulate: {error}") from error

    def head(self) -> int:
        """The node's highest block."""
        return int(self._ask(lambda: self.web3.eth.block_number))

    def balance(self, address: bytes) -> int:
        """What an account has, in wei."""
        account = Web3.to_checksum_address(address)
        return int(self._ask(lambda: self.web3.eth.get_balance(account)))

    def nonce(self, address: bytes, height: int | None = None) -> int:
        """How many transactions of an account are in blocks, up to one of them."""
        account = Web3.to_checksum_address(address)
        at: Any = "latest" if height is None else height
        return int(self._ask(lambda: self.web3.eth.get_transaction_count(account, at)))

    def pending(self, address: bytes) -> int:
        """The nonce after those of an account that the node knows, mined or not."""
        account = Web3.to_checksum_address(address)
        return int(
            self._ask(lambda: self.web3.eth.get_transaction_count(account, "pending"))
        )

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except (Web3Exception, OSError, ValueError) as error:
            raise NodeAway(f"the node did not answer: {error}") from error


def _revert_data(error: ContractLogicError) -> bytes:
    data = error.data
    if isinstance(data, dict):
        data = data.get("data")
    return _hex(data)


def _hex(data: Any) -> bytes:
    try:
        return bytes.fromhex(str(data).removeprefix("0x"))
    except ValueError:
        return b""
