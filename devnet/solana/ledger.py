"""Instructions of the program `ledger`, encoded by hand: what tests and demos send.

The interface is ``idl/ledger.json``; the discriminators are taken from there, the rest
is written out, so that a codec can be held against it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM

from devnet.programs.build import interface

KEYPAIR = Keypair.from_seed(sha256(b"chainfold development program: ledger").digest())
"""The program's key on a development chain: public, worth nothing."""

PROGRAM = KEYPAIR.pubkey()
EVENT_CALL_TAG = bytes.fromhex("e445a52e51cb9a1d")


@dataclass(frozen=True, slots=True)
class Entry:
    """The arguments of an entry.

    ``kind`` is 0 and no values, 1 with (u64, bool), or 2 with (u8, u64). The amount is
    the sum of ``amounts`` unless given.
    """

    amounts: tuple[int, ...]
    level: int = 1
    urgent: bool = False
    note: str = ""
    limit: int | None = None
    kind: tuple[int, ...] = (0,)
    amount: int | None = None

    def encode(self) -> bytes:
        """Return it in borsh."""
        note = self.note.encode()
        total = sum(self.amounts) if self.amount is None else self.amount
        limit = b"\0" if self.limit is None else struct.pack("<BQ", 1, self.limit)
        kinds = {0: "<B", 1: "<BQ?", 2: "<BBQ"}
        return b"".join(
            [
                struct.pack("<QB?I", total, self.level, self.urgent, len(note)),
                note,
                limit,
                struct.pack(kinds[self.kind[0]], *self.kind),
                struct.pack(
                    f"<I{len(self.amounts)}Q", len(self.amounts), *self.amounts
                ),
            ]
        )


@cache
def discriminator(name: str) -> bytes:
    """Return the eight bytes before an instruction, an event or an account."""
    idl = interface("ledger")
    for space in ("instructions", "events", "accounts"):
        for item in idl[space]:
            if item["name"] == name:
                return bytes(item["discriminator"])
    raise KeyError(f"ledger.json has nothing called {name}")


def event_authority(program: Pubkey = PROGRAM) -> Pubkey:
    """Return the address that signs the events by self-call."""
    return Pubkey.find_program_address([b"__event_authority"], program)[0]


def receipt(identity: bytes, program: Pubkey = PROGRAM) -> Pubkey:
    """Return the address of an id's receipt."""
    return Pubkey.find_program_address([b"receipt", identity], program)[0]


def emit(
    author: Pubkey, identity: bytes, entry: Entry, recipients: Sequence[Pubkey],
    referrer: Pubkey | None = None, program: Pubkey = PROGRAM,
) -> Instruction:  # fmt: skip
    """Say `Recorded` in the log."""
    named = [AccountMeta(author, True, False), _plain(referrer or program)]
    return _with_entry("emit", identity, entry, named, recipients, program)


def emit_by_call(
    author: Pubkey, identity: bytes, entry: Entry, recipients: Sequence[Pubkey],
    referrer: Pubkey | None = None, program: Pubkey = PROGRAM,
) -> Instruction:  # fmt: skip
    """Say `Recorded` by a call of the program to itself."""
    named = [
        AccountMeta(author, True, False),
        _plain(referrer or program),
        _plain(event_authority(program)),
        _plain(program),
    ]
    return _with_entry("emit_by_call", identity, entry, named, recipients, program)


def record(
    author: Pubkey, identity: bytes, entry: Entry, recipients: Sequence[Pubkey],
    referrer: Pubkey | None = None, program: Pubkey = PROGRAM,
) -> Instruction:  # fmt: skip
    """Keep a receipt of the id and say `Recorded` in both ways."""
    named = [
        AccountMeta(author, True, True),
        AccountMeta(receipt(identity, program), False, True),
        _plain(referrer or program),
        _plain(SYSTEM_PROGRAM),
        _plain(event_authority(program)),
        _plain(program),
    ]
    return _with_entry("record", identity, entry, named, recipients, program)


def mark(first: int, second: int, program: Pubkey = PROGRAM) -> Instruction:
    """Say two numbers in the log."""
    data = discriminator("mark") + struct.pack("<QQ", first, second)
    return Instruction(program, data, [])


def fail(code: int, program: Pubkey = PROGRAM) -> Instruction:
    """Say a number in the log and fail with it."""
    return Instruction(program, discriminator("fail") + struct.pack("<I", code), [])


def spam(lines: int, length: int, program: Pubkey = PROGRAM) -> Instruction:
    """Fill the log with lines of one length."""
    data = discriminator("spam") + struct.pack("<HH", lines, length)
    return Instruction(program, data, [])


def relay(call: Instruction, program: Pubkey = PROGRAM) -> Instruction:
    """Let the program make a call, so that the call is an inner instruction."""
    data = bytes(call.data)
    return Instruction(
        program,
        discriminator("relay") + struct.pack("<I", len(data)) + data,
        [_plain(call.program_id), *call.accounts],
    )


def _plain(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)


def _with_entry(
    name: str, identity: bytes, entry: Entry, named: list[AccountMeta],
    recipients: Sequence[Pubkey], program: Pubkey,
) -> Instruction:  # fmt: skip
    accounts = [*named, *map(_plain, recipients)]
    return Instruction(
        program, discriminator(name) + identity + entry.encode(), accounts
    )
