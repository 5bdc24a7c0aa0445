"""The nodes of a Solana cluster as the write side asks them, and what they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from commands.errors import NodeAway
from db.commands.states import Hold

# What nodes say to bytes that they have, or that landed (agave, rpc/src/rpc.rs).
_KNOWN = ("already been processed", "alreadyprocessed")
_FUNDS = ("insufficient funds for fee", "debit an account but found no record")


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's answer to signed bytes; no answer says that a transaction lands."""

    text: str
    taken: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the node took the bytes, or has executed them."""
        return self.taken or self._says(_KNOWN)

    @property
    def hold(self) -> Hold:
        """The hold that it advises for the signer."""
        return Hold.FUNDS if self._says(_FUNDS) else Hold.NO

    @property
    def rank(self) -> tuple[bool, ...]:
        """The order among answers of several nodes: the highest is told."""
        return self.accepted, self.taken

    def _says(self, words: tuple[str, ...]) -> bool:
        lowered = self.text.lower()
        return any(each in lowered for each in words)


@dataclass(frozen=True, slots=True)
class Blockhash:
    """A blockhash, its slot, and the last block height at which it is valid."""

    hash: bytes
    last_valid: int
    slot: int


@dataclass(frozen=True, slots=True)
class SentByWallet:
    """A transaction that a node lists for a wallet."""

    signature: bytes
    slot: int


@dataclass(frozen=True, slots=True)
class Finalized:
    """The last finalized slot of a node, and its block height."""

    slot: int
    height: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """The result of a simulation.

    `units` are compute units; `error` is None unless it fails, as the node has it.
    `lamports` is by how much the payer would have less, `tokens` the same by mint, of
    the token accounts that the payer owns. Where it succeeds, `price` is the priority
    fee to offer (see `Node.priority_fee`) and `recent` the blockhash to sign with: they
    are asked in the same request.
    """

    units: int
    error: Any = None
    logs: Sequence[str] = ()
    lamports: int = 0
    tokens: Mapping[bytes, int] = field(default_factory=dict)
    price: int = 0
    recent: Blockhash | None = None


class NoMoney(NodeAway):
    """The payer cannot pay for the transaction: nothing is known about the call."""


class Node(Protocol):
    """The nodes of a cluster as the write side asks them; all may raise NodeAway."""

    def head(self) -> int:
        """The node's last confirmed slot."""
        ...

    def balance(self, address: bytes) -> int:
        """Return the balance of an account in lamports."""
        ...

    def token_balance(self, account: bytes) -> int:
        """Return what a token account holds, in the token's smallest unit."""
        ...

    def blockhash(self) -> Blockhash:
        """Return a confirmed blockhash to sign with."""
        ...

    def finalized(self) -> Finalized:
        """Return the last finalized slot and its height."""
        ...

    def simulate(
        self, raw: bytes, payer: bytes, writable: Sequence[bytes]
    ) -> Simulated:
        """Return what a transaction would do, whatever its signatures and blockhash.

        `writable` are the accounts that it may change.
        """
        ...

    def priority_fee(self, accounts: Sequence[bytes]) -> int:
        """Return what was paid of late for writing accounts: micro-lamports a unit."""
        ...

    def send(self, raw: bytes) -> Answer:
        """Hand signed bytes over; returns what the node said, which decides nothing."""
        ...

    def knows(self, signature: bytes) -> bool:
        """Whether a node has a transaction in a block, in its whole history."""
        ...

    def too_old(self, blockhash: bytes) -> bool:
        """Whether nodes say that a blockhash is not valid: two where there are several.

        Raises NodeAway when too few answer.
        """
        ...

    def cannot_land(self, signature: bytes, blockhash: bytes | None) -> bool:
        """Whether nodes say that a transaction did not land, and can land no more.

        They know no such signature, and its blockhash, if it is given, is not valid.
        Two nodes must say so where there are several. Raises NodeAway when too few
        answer.
        """
        ...

    def sent_by(self, wallet: bytes, since: int) -> list[SentByWallet]:
        """Return the transactions that name a wallet, from a slot on, newest first."""
        ...

    def transaction(self, signature: bytes) -> bytes | None:
        """Return the bytes of a transaction that landed; None: the node has none."""
        ...
