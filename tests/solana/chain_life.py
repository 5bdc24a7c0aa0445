"""Lives of a chain against their transactions alone, run by the node's own Python.

    python chain_life.py FOLDER_OF_NODE LEDGER.SO LEDGER.JSON FIRST_SEED LAST_SEED

Whatever forks and when, the chain must be what its transactions would have made without
any fork. Prints what was met, as JSON.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from node.chain import Chain
from node.machine import Machine
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

STEPS = 150
PROGRAM = Path(sys.argv[2]).read_bytes()
IDL = json.loads(Path(sys.argv[3]).read_text())
LEDGER = Pubkey.from_string(IDL["address"])
NAMES = {one["name"]: bytes(one["discriminator"]) for one in IDL["instructions"]}


def plain(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, False, False)


def address(*seeds: bytes) -> Pubkey:
    return Pubkey.find_program_address(list(seeds), LEDGER)[0]


def receipt(identity: bytes) -> Pubkey:
    return address(b"receipt", identity)


def record(author: Pubkey, identity: bytes, amounts: list[int]) -> Instruction:
    entry = struct.pack("<QB?IBB", sum(amounts), 1, False, 0, 0, 0)
    entry += struct.pack(f"<I{len(amounts)}Q", len(amounts), *amounts)
    accounts = [
        AccountMeta(author, True, True),
        AccountMeta(receipt(identity), False, True),
        plain(LEDGER),
        plain(Pubkey.default()),
        plain(address(b"__event_authority")),
        plain(LEDGER),
        *(plain(author) for _ in amounts),
    ]
    return Instruction(LEDGER, NAMES["record"] + identity + entry, accounts)


def new_chain() -> Chain:
    chain = Chain(Machine(), clock=lambda slot: 1000 + slot, finalized_after=12)
    chain.machine.vm.add_program(LEDGER, PROGRAM)
    return chain


class Life:
    """A chain on which people do as they like, and forks come when they like."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.chain = new_chain()
        self.people = [Keypair.from_seed(bytes([n]) * 32) for n in range(4)]
        for person in self.people:
            self.chain.airdrop(person.pubkey(), 10**9)
        self.ids = [bytes([n]) * 32 for n in range(30)]
        self.chain.advance(2)

    def step(self) -> None:
        deeds = [self.pay, self.record, self.advance]
        self.chance.choice([*deeds * 4, self.fail, self.fork])()
        ladder = self.chain.ladder()
        assert ladder.finalized <= ladder.confirmed < self.chain.tip.slot

    def pay(self) -> None:
        giver, taker = self.chance.sample(self.people, 2)
        lamports = self.chance.choice([1, 10**6, 2 * 10**9])
        named = TransferParams(
            from_pubkey=giver.pubkey(), to_pubkey=taker.pubkey(), lamports=lamports
        )
        self.send(giver, transfer(named))

    def record(self) -> None:
        author = self.chance.choice(self.people)
        amounts = [self.chance.randint(1, 9) for _ in range(self.chance.randint(1, 12))]
        self.send(
            author, record(author.pubkey(), self.chance.choice(self.ids), amounts)
        )

    def fail(self) -> None:
        code = struct.pack("<I", self.chance.randint(1, 9))
        author = self.chance.choice(self.people)
        self.send(author, Instruction(LEDGER, NAMES["fail"] + code, []))

    def advance(self) -> None:
        self.chain.advance(self.chance.choice([1, 2, 5]), self.chance.choice([0, 0, 3]))

    def fork(self) -> None:
        def keep(names: list[str]) -> list[str]:
            return self.chance.sample(names, self.chance.randint(0, len(names)))

        self.chain.fork(self.chance.randint(1, 8), keep)

    def send(self, author: Keypair, call: Instruction) -> None:
        known = self.chain.between(self.chain.ladder().finalized, self.chain.tip.parent)
        recent = self.chain.blocks[self.chance.choice(known)].blockhash
        message = Message.new_with_blockhash([call], author.pubkey(), recent)
        self.chain.execute(VersionedTransaction(message, [author]))


def hold(chain: Chain, keys: set[Pubkey]) -> None:
    """Execute the chain's transactions on another machine and compare everything."""
    again = new_chain().machine
    for slot in chain.slots:
        block = chain.blocks[slot]
        if slot > 1:
            again.at(slot, block.time, [])
        for made in block.records:
            done = again.execute(made.transaction)
            assert done.told == made.done.told, (slot, made.signature)
            assert done.lamports == made.done.lamports, (slot, made.signature)
        for key in keys:
            assert again.account(key) == chain.account_at(key, slot), (slot, str(key))
    assert len(chain.by_signature) == sum(len(b.records) for b in chain.blocks.values())
    for found in chain.by_address.values():
        assert [one.place for one in found] == sorted({one.place for one in found})
        assert all(chain.by_signature[one.signature] is one for one in found)


def main(first: int, last: int) -> dict[str, int]:
    met = {"forks": 0, "transactions": 0, "failed": 0, "receipts": 0, "skipped": 0}
    for seed in range(first, last):
        life = Life(seed)
        for _ in range(STEPS):
            life.step()
        chain, receipts = life.chain, {receipt(identity) for identity in life.ids}
        written = {key for block in chain.blocks.values() for key in block.before}
        hold(chain, written | receipts)
        records = chain.by_signature.values()
        met["forks"] += chain.forks
        met["transactions"] += len(records)
        met["failed"] += sum(one.done.told.error is not None for one in records)
        met["receipts"] += sum(
            chain.machine.account(one) is not None for one in receipts
        )
        met["skipped"] += chain.tip.slot - len(chain.slots)
    return met


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[4]), int(sys.argv[5]))))
