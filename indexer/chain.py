"""A chain as the loops hold it: where it is read from, and written to."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from db.blocks import Header
from db.coverage import Stream
from db.position import BlockRange
from db.registry import Registry
from indexer.source import Batch, Source
from indexer.streams import TRANSACTIONS, wallet_streams
from indexer.summary import Summary
from indexer.writer import Guard

Planned = tuple[BlockRange, list[Stream]]


@dataclass(frozen=True, slots=True)
class Seen:
    """The head of a chain and its last final block, with the time of the reading."""

    head: Header
    final: int
    at: float  # on the monotonic clock


@dataclass(frozen=True, slots=True)
class Ahead:
    """A range that is being read; `final` is the last final block when that began."""

    planned: Planned
    task: asyncio.Task[Batch]
    final: int


@dataclass(slots=True)
class Chain:
    """Everything one loop needs, and the little that it remembers between steps."""

    engine: Engine
    registry: Registry
    source: Source
    id: int
    streams: list[Stream]
    guard: Guard | None = None
    window: BlockRange | None = None  # only these blocks; None: up to the head
    range_blocks: int = 1000
    batch_facts: int = 50_000
    blocks_per_range: int = 100
    # Of history, so many facts or seconds are written in one transaction; 0: one range.
    bulk_facts: int = 1_000_000
    bulk_seconds: float = 10.0
    bulk_from: int = 0  # below it one could not be written
    # Ranges that are being read, or were and wait to be written: adjacent, in order.
    ahead: deque[Ahead] = field(default_factory=deque)
    facts_per_block: float | None = None  # in the range written last
    seen: Seen | None = None
    looking: asyncio.Task[Seen] | None = None
    # The last of our blocks that was final already when it was read.
    sure: int = -1
    told_final: int = -1  # the last final block that whoever listens was told of
    # By stream of children: under which block the source knows all that the database
    # has, and how many these are. Empty: it must be told them anew.
    known: dict[str, int] = field(default_factory=dict)
    children: int = 0
    # Wallets whose transactions are waited for just now, with their first blocks.
    wallets: dict[bytes, int] = field(default_factory=dict)
    own_leases: list[BlockRange] = field(default_factory=list)
    caught_up: bool = False
    # Set by whoever knows that there may be something new: the next poll is at once.
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    full_disk: Connection | None = None  # tells that the state cannot be recorded
    stepping_since: float = 0.0  # on the monotonic clock
    summary: Summary = field(default_factory=Summary)

    @property
    def name(self) -> str:
        """The chain's name in the settings."""
        return self.source.name

    def drop_ahead(self) -> None:
        """Drop ranges that were read, or are being read, and are not written."""
        if self.looking is not None:
            self.looking.cancel()
            self.looking = None
        while self.ahead:
            self.ahead.pop().task.cancel()

    def watch(self, wallets: dict[bytes, int]) -> None:
        """From the next plan on, read the transactions of these wallets too.

        The source is told before anything is planned, so that no block counts as read
        for a wallet that was not looked for in it. One that is our own signer's is read
        anyway, and stays when nothing is waited for any more.
        """
        others = set(self.streams) - set(wallet_streams(self.wallets))
        signers = {each.filter for each in others if each.event == TRANSACTIONS}
        wallets = {w: n for w, n in wallets.items() if "0x" + w.hex() not in signers}
        if wallets == self.wallets:
            return
        self.source.watch(wallets)
        self.streams = sorted(others | set(wallet_streams(wallets)))
        self.wallets = wallets
