"""The instructions by which Anchor's programs keep their IDLs, written by hand.

What they are is in anchor-lang's `idl.rs`; nothing of the product is in here.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from devnet.solana.client import Client

TAG = bytes.fromhex("40f4bc78a7e9690a")
HEAD = 44  # eight bytes that mark it, the authority, the length
PART = 600  # bytes that one transaction writes, as Anchor's command line has it
NEVER_GROWN = 10_000  # bytes that one instruction may add


@dataclass(frozen=True)
class IdlKeeper:
    """A program that Anchor built, and a client whose payer owns its IDL."""

    devnet: Client
    program: Pubkey

    @property
    def owner(self) -> Pubkey:
        return self.devnet.payer.pubkey()

    @property
    def account(self) -> Pubkey:
        base, _ = Pubkey.find_program_address([], self.program)
        return Pubkey.create_with_seed(base, "anchor:idl", self.program)

    def call(self, data: bytes, *accounts: tuple[Pubkey, str]) -> Instruction:
        """`s` is one that signs, `w` one that is written."""
        metas = [AccountMeta(key, "s" in how, "w" in how) for key, how in accounts]
        return Instruction(self.program, TAG + data, metas)

    def create(self, size: int) -> Instruction:
        base, _ = Pubkey.find_program_address([], self.program)
        return self.call(
            struct.pack("<BQ", 0, size),
            (self.owner, "sw"), (self.account, "w"), (base, ""),
            (Pubkey.default(), ""), (self.program, ""),
        )  # fmt: skip

    def resize(self, size: int) -> Instruction:
        return self.call(
            struct.pack("<BQ", 6, size),
            (self.account, "w"), (self.owner, "sw"), (Pubkey.default(), ""),
        )  # fmt: skip

    def write(self, part: bytes, account: Pubkey | None = None) -> Instruction:
        data = struct.pack("<BI", 2, len(part)) + part
        return self.call(data, (account or self.account, "w"), (self.owner, "s"))

    def set_buffer(self, buffer: Pubkey, account: Pubkey | None = None) -> Instruction:
        return self.call(
            b"\3", (buffer, "w"), (account or self.account, "w"), (self.owner, "s")
        )

    def set_authority(self, key: Pubkey) -> Instruction:
        return self.call(b"\4" + bytes(key), (self.account, "w"), (self.owner, "s"))

    def close(self, account: Pubkey | None = None) -> Instruction:
        return self.call(
            b"\5", (account or self.account, "w"), (self.owner, "s"), (self.owner, "w")
        )

    def make_buffer(self, size: int, buffer: Keypair | None = None) -> Keypair:
        """Make a buffer, in one transaction, as Anchor's command line does."""
        made = buffer or Keypair()
        params = CreateAccountParams(
            from_pubkey=self.owner, to_pubkey=made.pubkey(), space=HEAD + size,
            lamports=self.devnet.rent(HEAD + size), owner=self.program,
        )  # fmt: skip
        marked = self.call(b"\1", (made.pubkey(), "w"), (self.owner, "s"))
        self.devnet.send(create_account(params), marked, signers=[made])
        return made

    def write_all(
        self, deflated: bytes, account: Pubkey | None = None, part: int = PART
    ) -> int:
        """Write all of it, a transaction a part; return the slot of the last."""
        signature = ""
        for start in range(0, len(deflated), part):
            piece = deflated[start : start + part]
            signature = self.devnet.send(self.write(piece, account))
        return self.slot(signature)

    def publish(self, idl: dict[str, Any]) -> int:
        """Put the first IDL there, as `anchor idl init` does; the slot of it."""
        deflated = deflate(idl)
        self.devnet.send(self.create(len(deflated)))
        return self.write_all(deflated)

    def upgrade(self, idl: dict[str, Any], buffer: Keypair | None = None) -> int:
        """Put another there through a buffer, as `anchor idl upgrade` does."""
        deflated = deflate(idl)
        made = self.make_buffer(len(deflated), buffer).pubkey()
        self.write_all(deflated, made)
        return self.slot(self.devnet.send(self.set_buffer(made)))

    def slot(self, signature: str) -> int:
        return int(self.devnet.transaction(signature)["slot"])


def deflate(idl: dict[str, Any] | bytes) -> bytes:
    return zlib.compress(idl if isinstance(idl, bytes) else json.dumps(idl).encode())
