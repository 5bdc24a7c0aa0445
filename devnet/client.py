"""Acts on a development chain: sends from its unlocked accounts and reads back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devnet.codec import Event, Interface, Refusal, interface
from devnet.rpc import Rpc, RpcError
from ops.errors import OperationError

GAS_PRICE = 1_000_000_000
"""One gwei: the least a Polygon Edge node takes by default."""

GAS_LIMIT = 800_000
GAS_LIMITS = {"createPair": 3_000_000}
"""Given rather than estimated, so that a refused transaction is mined as one."""

RECEIPT_SECONDS_MAX = 30.0
POLL_SECONDS = 0.02

# Errors and events of ours appear in receipts and reverts of any of them.
CONTRACTS = (
    "CampaignImplementation",
    "AnchorRegistry",
    "CampaignFactory",
    "IssuerRegistry",
    "NFTShareCertificate",
    "FundEscrow",
    "Pair",
    "PairFactory",
    "TestToken",
)


class NotMinedError(OperationError, TimeoutError):
    """A transaction was taken by the node and did not come into a block in time."""


class RevertedError(RuntimeError):
    """The chain refused a call; ``refusal`` says why when the contract did."""

    def __init__(self, what: str, refusal: Refusal | None, reason: str) -> None:
        super().__init__(f"{what}: {refusal or reason}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract at an address."""

    name: str
    address: str

    @property
    def interface(self) -> Interface:
        """The contract's interface."""
        return interface(self.name)


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction to be: who sends what to which contract."""

    sender: str
    to: Contract
    function: str
    args: tuple[object, ...] = ()
    value: int = 0

    def transaction(self) -> dict[str, str]:
        """Return it as the node takes it: legacy, with everything given."""
        return {
            "from": self.sender,
            "to": self.to.address,
            "data": self.to.interface.encode_call(self.function, *self.args),
            "value": hex(self.value),
            "gas": hex(GAS_LIMITS.get(self.function, GAS_LIMIT)),
            "gasPrice": hex(GAS_PRICE),
        }

    def __str__(self) -> str:
        return f"{self.to.name}.{self.function}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of a mined transaction."""

    transaction: str
    block: int
    succeeded: bool
    gas_used: int
    logs: list[dict[str, Any]]
    contract: str | None

    def events(self, name: str | None = None) -> list[Event]:
        """Return the decoded events, in order; of one name only, if given."""
        events = [decode_log(log) for log in self.logs]
        return [event for event in events if name in (None, event.name)]

    def event(self, name: str) -> Event:
        """Return the only event of a name."""
        (event,) = self.events(name)
        return event


class Chain:
    """A node whose accounts are unlocked."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    def accounts(self) -> list[str]:
        """List the unlocked accounts."""
        accounts: list[str] = self.rpc.call("eth_accounts")
        return [account.lower() for account in accounts]

    def send(
        self,
        sender: str,
        to: Contract,
        function: str,
        *args: object,
        value: int = 0,
    ) -> Receipt:
        """Send one transaction and wait for it; raise ``RevertedError`` if refused."""
        call = Call(sender, to, function, args, value)
        self._ask(call)
        receipt = self.receipt(self.rpc.call("eth_sendTransaction", call.transaction()))
        if not receipt.succeeded:
            raise RevertedError(str(call), None, "reverted when mined")
        return receipt

    def submit(self, calls: Sequence[Call]) -> list[str]:
        """Send many without waiting; return their hashes.

        One request each: a node is free to work on a batch in any order.
        """
        return [
            self.rpc.call("eth_sendTransaction", call.transaction()) for call in calls
        ]

    def call(self, to: Contract, function: str, *args: object) -> Any:
        """Read from a contract."""
        sender = "0x" + "00" * 20
        data = self._ask(Call(sender, to, function, args), "latest")
        return to.interface.decode_result(function, len(args), data)

    def balance(self, address: str) -> int:
        """Return what an address holds of the native currency."""
        return int(self.rpc.call("eth_getBalance", address, "latest"), 16)

    def receipt(self, transaction: str) -> Receipt:
        """Wait until a transaction is mined."""
        return self.receipts([transaction])[0]

    def receipts(self, transactions: Sequence[str]) -> list[Receipt]:
        """Wait until all of some transactions are mined."""
        deadline = time.monotonic() + RECEIPT_SECONDS_MAX
        while True:
            found = self.rpc.batch(
                [("eth_getTransactionReceipt", [name]) for name in transactions]
            )
            missing = found.count(None)
            if not missing:
                return [parse_receipt(receipt) for receipt in found]
            if time.monotonic() > deadline:
                raise NotMinedError(
                    f"{missing} transactions were not mined in "
                    f"{RECEIPT_SECONDS_MAX:.0f} s: does the chain make blocks?"
                )
            time.sleep(POLL_SECONDS)

    def _ask(self, call: Call, block: str = "pending") -> str:
        """Try a call without sending it, to learn the reason of a refusal."""
        transaction = call.transaction()
        try:
            result: str = self.rpc.call("eth_call", transaction, block)
        except RpcError as error:
            raise RevertedError(str(call), _refusal(error.data), str(error)) from None
        return result


def parse_receipt(found: dict[str, Any]) -> Receipt:
    """Return a node's receipt in our form."""
    return Receipt(
        transaction=found["transactionHash"],
        block=int(found["blockNumber"], 16),
        succeeded=int(found["status"], 16) == 1,
        gas_used=int(found["gasUsed"], 16),
        logs=found["logs"],
        contract=found.get("contractAddress"),
    )


def decode_log(log: dict[str, Any]) -> Event:
    """Return a log as the event of whichever contract knows it."""
    for name in CONTRACTS:
        event = interface(name).decode_log(log)
        if event is not None:
            return event
    raise LookupError(f"no contract of ours has an event with topics {log['topics']}")


def _refusal(data: object) -> Refusal | None:
    if not isinstance(data, str) or len(data) < 10:
        return None
    for name in CONTRACTS:
        refusal = interface(name).decode_refusal(data)
        if refusal is not None:
            return refusal
    return None
