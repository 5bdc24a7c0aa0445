"""The interface of a source of facts, whatever the chain."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from db.blocks import Header
from db.facts import FactColumns
from db.position import BlockRange
from db.proofs import Level
from db.validators import ValidatorSet


@dataclass(frozen=True, slots=True)
class UndecodableLog:
    """A log of a followed contract that does not fit its ABI.

    `kept`: it is among the facts all the same, with values that were mended.
    """

    position: int
    emitter: bytes
    transaction: bytes
    topics: Sequence[bytes]
    data: bytes
    event: str
    reason: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class FailedTransaction:
    """A transaction that named a program we follow, and changed nothing."""

    position: int  # of what it would have done first
    block_time: int
    transaction: bytes
    program: bytes | None  # that failed, as far as the logs tell
    code: int | None  # of the program's own error
    error: str  # its name in the IDL, or the node's words


@dataclass(frozen=True, slots=True)
class SenderTransaction:
    """A transaction of a sender we watch (one of our own signers)."""

    position: int  # ordinal = index of the transaction in its block
    block_time: int
    hash: bytes
    sender: bytes
    recipient: bytes | None  # None: it created a contract
    nonce: int
    value: int  # wei
    data: bytes
    succeeded: bool
    gas_used: int
    revert_data: bytes | None = None  # None: not reverted, or the node does not tell


@dataclass(frozen=True, slots=True)
class Child:
    """A contract made by a factory."""

    contract: str  # name of the declared Contract it is an instance of
    address: bytes
    height: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything a source read for a range, complete or not there at all.

    `headers` holds at least the first and the last block of the range and every block
    with a fact; whole-block sources give all of them, in order.
    """

    range: BlockRange
    headers: Sequence[Header]
    facts: Sequence[FactColumns]
    children: Sequence[Child] = ()
    undecodable: Sequence[UndecodableLog] = ()
    transactions: Sequence[SenderTransaction] = ()
    stats: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, str] = field(default_factory=dict)  # learnt of the chain
    validators: ValidatorSet | None = None  # due after the range, if they are known
    failed: Sequence[FailedTransaction] = ()
    # Addresses and signatures that were read, where transactions are listed.
    listed: Sequence[tuple[bytes, bytes]] = ()


class Source(Protocol):
    """A chain followed through one or more endpoints."""

    name: str  # of the chain, in the settings
    chain_id: str  # CAIP-2

    async def head(self) -> Header:
        """The highest block the source reports."""
        ...

    async def final_height(self, head: Header) -> int:
        """The highest block that cannot be undone, -1 when there is none yet."""
        ...

    async def header(self, height: int) -> Header | None:
        """The header at a height, None when the source has no such block (yet)."""
        ...

    async def fetch(
        self, wanted: BlockRange, events: Iterable[str], *, follows: bool = False
    ) -> Batch:
        """Read a range for the events with these ids.

        `follows`: it stands right above the range that was asked for last, which may
        still be under way; what is learnt there counts here. Where that one cannot be
        read, neither can this.

        Raises `indexer.errors.Retryable` when the answer cannot be trusted to be
        complete, and `Permanent` when asking again cannot help.
        """
        ...

    def provable(self) -> Sequence[Level]:
        """The levels to which blocks far below the head can be raised by `prove`."""
        ...

    async def prove(self, wanted: BlockRange, events: Iterable[str]) -> Batch:
        """Read a range as `fetch` does, with all that proves its blocks."""
        ...

    async def discover(self, wanted: BlockRange) -> Sequence[Child]:
        """The contracts that factories made in a range, without reading its facts.

        Includes the children of children that the range announces.
        """
        ...

    def learn_children(self, children: Iterable[Child]) -> None:
        """Follow these contracts too, from their heights on."""
        ...

    def forget_children(self, height: int) -> None:
        """Forget the contracts made at or above a height: their blocks are gone."""
        ...

    def watch(self, wallets: Collection[bytes]) -> None:
        """Read the transactions of these accounts too, in what is fetched from now on.

        They take the place of those of the call before; our own signers stay.
        """
        ...

    def endpoints(self) -> Mapping[str, str]:
        """Return why each endpoint does not answer, by name; empty text: it does."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
