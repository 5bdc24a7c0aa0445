"""The chain: slots, blocks, the commitment ladder, and what is found by which key.

A transaction is executed when it is sent, in the open slot, which is the tip at the
commitment `processed`. Advancing seals that slot. State of older slots is read through
the accounts as they were before each later slot, which also is how a fork is undone.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction, VersionedTransaction

from .machine import SYSTEM, Done, Machine, lands

BLOCKHASH_BLOCKS = 150
RECENT_SLOTS = 300
"""Slots in which a status is found without searching history."""
UNDO_BLOCKS = 512
SLOT_HASHES = 512
FAUCET_LAMPORTS = 10**18


@dataclass(slots=True)
class Record:
    """A transaction in a block; ``cache`` keeps what was written of it."""

    transaction: VersionedTransaction
    signature: str
    done: Done
    slot: int
    index: int
    block_time: int
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, int]:
        return self.slot, self.index


@dataclass(slots=True)
class Block:
    """A slot with a block. ``before`` holds accounts as they were before it wrote."""

    slot: int
    parent: int
    height: int
    time: int
    previous: Hash
    blockhash: Hash
    records: list[Record] = field(default_factory=list)
    before: dict[Pubkey, Account | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The highest slots of the commitments, as one replica sees them."""

    processed: int
    confirmed: int
    finalized: int

    def of(self, commitment: str) -> int:
        """Return the slot of a commitment."""
        return int(getattr(self, commitment))


class Chain:
    """A ledger that one machine writes. ``clock`` tells the time of a slot."""

    def __init__(
        self,
        machine: Machine,
        *,
        clock: Callable[[int], int],
        seed: int = 0,
        confirmed_after: int = 1,
        finalized_after: int = 32,
    ) -> None:
        self.machine, self.clock = machine, clock
        self.confirmed_after, self.finalized_after = confirmed_after, finalized_after
        self.blocks: dict[int, Block] = {}
        self.slots: list[int] = []
        self.by_signature: dict[str, Record] = {}
        self.by_address: dict[Pubkey, list[Record]] = {}
        self.heights: dict[Hash, tuple[int, int]] = {}
        self.transactions = 0
        self.forks = 0
        self.genesis = Hash.hash(f"chainfold devnet {seed}".encode())
        self.faucet = Keypair.from_seed(hashlib.sha256(b"faucet %d" % seed).digest())
        machine.put(self.faucet.pubkey(), Account(FAUCET_LAMPORTS, b"", SYSTEM))
        self._open(0, 0, 0, self.genesis)
        self.advance()

    @property
    def tip(self) -> Block:
        """The open slot."""
        return self.blocks[self.slots[-1]]

    def ladder(self, lag: int = 0) -> Ladder:
        """Return the commitments, as a replica sees them that is slots behind."""
        top = self.tip.slot - lag
        return Ladder(
            self.at_most(top),
            self.at_most(top - self.confirmed_after),
            self.at_most(top - self.finalized_after),
        )

    def at_most(self, slot: int) -> int:
        """Return the highest slot with a block up to there, or the first of all."""
        return self.slots[max(0, bisect_right(self.slots, slot) - 1)]

    def advance(self, slots: int = 1, skip: int = 0) -> int:
        """Seal the open slot and open later ones, ``skip`` left out before the last."""
        for left in range(slots, 0, -1):
            sealed = self.tip
            seed = b"".join(
                [bytes(sealed.previous), sealed.slot.to_bytes(8, "little")]
                + [self.forks.to_bytes(4, "little")]
                + [bytes(record.transaction.signatures[0]) for record in sealed.records]
            )
            sealed.blockhash = Hash.hash(seed)
            self.heights[sealed.blockhash] = (sealed.height, sealed.slot)
            gap = skip if left == 1 else 0
            slot = sealed.slot + 1 + gap
            self._open(slot, sealed.slot, sealed.height + 1, sealed.blockhash)
        return self.tip.slot

    def fork(self, depth: int, keep: Callable[[list[str]], list[str]]) -> list[str]:
        """Drop the last blocks above the finalized one, and go on beside them.

        ``keep`` is given the signatures in them, the oldest first, and returns those
        that are executed again in the next slot, in that order; they land if their
        blockhash is of this fork. The signatures of the others are returned.
        """
        ladder = self.ladder()
        place = max(0, len(self.slots) - 1 - depth)
        root = self.slots[max(place, self.slots.index(ladder.finalized))]
        old_tip = self.tip.slot
        dropped: dict[str, Record] = {}
        while self.slots[-1] > root:
            block = self.blocks.pop(self.slots.pop())
            for record in reversed(block.records):
                self._forget(record)
                dropped[record.signature] = record
            for key, account in block.before.items():
                self.machine.put(key, account)
            self.heights.pop(block.blockhash, None)
        self.forks += 1
        base = self.tip
        self._open(old_tip + 1, base.slot, base.height + 1, base.blockhash)
        names = list(reversed(dropped))
        for signature in keep(names):
            again = dropped[signature].transaction
            if self.blockhash_is_valid(again.message.recent_blockhash, self.tip.slot):
                self.execute(again)
        return [name for name in names if name not in self.by_signature]

    def execute(self, transaction: VersionedTransaction) -> Record | None:
        """Put a transaction into the open slot; None when it cannot land."""
        signature = str(transaction.signatures[0])
        if signature in self.by_signature:
            return None
        done = self.machine.execute(transaction)
        if not lands(done.told.error):
            return None
        tip = self.tip
        for key, account in done.before.items():
            tip.before.setdefault(key, account)
        record = Record(
            transaction, signature, done, tip.slot, len(tip.records), tip.time
        )
        tip.records.append(record)
        self.by_signature[signature] = record
        for key in set(done.keys):
            self.by_address.setdefault(key, []).append(record)
        self.transactions += 1
        return record

    def write(self, key: Pubkey, account: Account | None) -> None:
        """Write an account beside all transactions."""
        self.tip.before.setdefault(key, self.machine.account(key))
        self.machine.put(key, account)

    def airdrop(self, key: Pubkey, lamports: int) -> str:
        """Pay from the faucet, in a transaction like any other."""
        self.transactions += 1  # so that equal payments differ
        faucet = self.faucet.pubkey()
        pay = TransferParams(from_pubkey=faucet, to_pubkey=key, lamports=lamports)
        unique = TransferParams(
            from_pubkey=faucet, to_pubkey=faucet, lamports=self.transactions
        )
        made = Transaction.new_signed_with_payer(
            [transfer(pay), transfer(unique)],
            faucet,
            [self.faucet],
            self.blocks[self.tip.parent].blockhash,
        )
        sent = VersionedTransaction.from_legacy(made)
        self.execute(sent)
        return str(sent.signatures[0])

    def account_at(self, key: Pubkey, slot: int) -> Account | None:
        """Return an account as it was when a slot ended."""
        for later in self.slots[bisect_right(self.slots, slot) :]:
            before = self.blocks[later].before
            if key in before:
                return before[key]
        return self.machine.account(key)

    def owned_at(self, program: Pubkey, slot: int) -> dict[Pubkey, Account]:
        """Return all accounts of a program as they were when a slot ended."""
        found = dict(self.machine.vm.get_program_accounts(program))
        for later in reversed(self.slots[bisect_right(self.slots, slot) :]):
            for key, account in self.blocks[later].before.items():
                if account is not None and account.owner == program:
                    found[key] = account
                else:
                    found.pop(key, None)
        return {key: account for key, account in found.items() if account.lamports}

    def blockhash_is_valid(self, blockhash: Hash, slot: int) -> bool:
        """Say whether a transaction with that blockhash may land after that slot."""
        known = self.heights.get(blockhash)
        if known is None or known[1] > slot:
            return False
        return self.blocks[slot].height - known[0] <= BLOCKHASH_BLOCKS

    def records_of(self, key: Pubkey, slot: int) -> list[Record]:
        """Return the transactions that name a key, up to a slot, the oldest first."""
        found = self.by_address.get(key, [])
        return found[: bisect_right(found, slot, key=lambda record: record.slot)]

    def between(self, first: int, last: int) -> list[int]:
        """Return the slots with blocks in a closed range."""
        return self.slots[
            bisect_left(self.slots, first) : bisect_right(self.slots, last)
        ]

    def _open(self, slot: int, parent: int, height: int, previous: Hash) -> None:
        time = self.clock(slot)
        recent = [
            (one, self.blocks[one].blockhash)
            for one in self.slots[: -SLOT_HASHES - 1 : -1]
        ]
        self.machine.at(slot, time, recent)
        self.blocks[slot] = Block(slot, parent, height, time, previous, Hash.default())
        self.slots.append(slot)
        if len(self.slots) > UNDO_BLOCKS:
            self.blocks[self.slots[-UNDO_BLOCKS]].before.clear()

    def _forget(self, record: Record) -> None:
        del self.by_signature[record.signature]
        for key in set(record.done.keys):
            self.by_address[key].pop()
