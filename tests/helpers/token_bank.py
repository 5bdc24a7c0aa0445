"""Tokens of both token programs on a development node, and people who move them.

Instructions are as the token programs' instruction.rs writes them; Token-2022's mint
with a transfer fee has the extension TransferFeeConfig (108 bytes), its accounts
TransferFeeAmount (8), each behind a type and a length of two bytes.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from db.declare import Key, Latest, Projection, Sum, TokenMoved, Tokens
from db.registry import Registry
from devnet.solana.client import TOKEN, Devnet
from indexer.solana.assemble import FollowedProgram

TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ACCOUNT_BYTES, MINT_BYTES = 165, 82
FEE_MINT_BYTES = ACCOUNT_BYTES + 1 + 4 + 108
FEE_ACCOUNT_BYTES = ACCOUNT_BYTES + 1 + 4 + 8


class HeldTokens(Projection):
    """What a token account holds."""

    plural = "held_tokens"
    account = Key()
    balance = Sum(TokenMoved.amount)
    told = Latest(TokenMoved.balance)


class OwnedTokens(Projection):
    """What an owner holds of a mint, in all accounts that are seen."""

    plural = "owned_tokens"
    owner = Key()
    mint = Key()
    balance = Sum(TokenMoved.amount)


REGISTRY = Registry.of([TokenMoved], [HeldTokens, OwnedTokens])


def followed(*addresses: Pubkey, start: int = 0) -> list[FollowedProgram]:
    """The settings' tokens, as the source is given them."""
    starts = {bytes(each): start for each in addresses}
    return [FollowedProgram(Tokens(), starts, [TokenMoved])]


def of_wallets(*wallets: Pubkey, start: int = 0) -> list[FollowedProgram]:
    """The settings' wallets, as the source is given them."""
    starts = {bytes(each): start for each in wallets}
    return [FollowedProgram(Tokens(), {}, [TokenMoved], wallets=starts)]


@dataclass
class Mint:
    """A mint, its program, and the fee of a transfer in basis points."""

    key: Pubkey
    program: Pubkey
    decimals: int
    fee_bps: int = 0


@dataclass
class Bank:
    """A node with token accounts; whoever pays may mint."""

    devnet: Devnet
    seed: int = 0
    owners: dict[Pubkey, Keypair] = field(default_factory=dict)  # by account
    mints: dict[Pubkey, Mint] = field(default_factory=dict)  # by account

    def __post_init__(self):
        self.chance = random.Random(self.seed)
        self.payer = Keypair.from_seed(self.chance.randbytes(32))
        self.devnet.payer = self.payer
        self.devnet.fund(lamports=10**12)

    def person(self) -> Keypair:
        return Keypair.from_seed(self.chance.randbytes(32))

    def do(self, *instructions, signers=(), **config) -> str:
        unique = [self.payer, *{each.pubkey(): each for each in signers}.values()]
        others = [each for each in unique[1:] if each.pubkey() != self.payer.pubkey()]
        return self.devnet.send(*instructions, signers=others, **config)

    def mint(self, program=TOKEN, *, fee_bps=0) -> Mint:
        key, decimals = self.person(), self.chance.randrange(10)
        size = FEE_MINT_BYTES if fee_bps else MINT_BYTES
        calls = [self._create(key, size, program)]
        if fee_bps:
            nobody = b"\0"
            body = struct.pack("<HQ", fee_bps, 10**15)
            calls.append(call(program, b"\x1a\0" + nobody * 2 + body, key.pubkey()))
        body = bytes([20, decimals]) + bytes(self.payer.pubkey()) + b"\0"
        calls.append(call(program, body, key.pubkey()))
        self.do(*calls, signers=[key])
        return Mint(key.pubkey(), program, decimals, fee_bps)

    def account(self, mint: Mint, owner: Keypair | None = None, key=None) -> Pubkey:
        owner, key = owner or self.person(), key or self.person()
        self.do(*self.opening(mint, owner, key), signers=[key])
        return key.pubkey()

    def opening(self, mint: Mint, owner: Keypair, key: Keypair) -> list[Instruction]:
        """Make an account of an owner at a key, and remember both."""
        size = FEE_ACCOUNT_BYTES if mint.fee_bps else ACCOUNT_BYTES
        self.owners[key.pubkey()], self.mints[key.pubkey()] = owner, mint
        body = b"\x12" + bytes(owner.pubkey())  # InitializeAccount3
        start = call(mint.program, body, key.pubkey(), (mint.key, ""))
        return [self._create(key, size, mint.program), start]

    def _create(self, key, size, owner):
        asked = CreateAccountParams(
            from_pubkey=self.payer.pubkey(), to_pubkey=key.pubkey(),
            lamports=self.devnet.rent(size), space=size, owner=owner,
        )  # fmt: skip
        return create_account(asked)

    def minting(self, account: Pubkey, amount: int) -> Instruction:
        mint, payer = self.mints[account], self.payer.pubkey()
        body = struct.pack("<BQ", 7, amount)
        return call(mint.program, body, mint.key, account, (payer, "s"))

    def moving(self, source: Pubkey, target: Pubkey, amount: int, *, checked=True):
        """A transfer; only one that is checked names the mint."""
        mint, owner = self.mints[source], (self.owners[source].pubkey(), "s")
        if checked:
            body = struct.pack("<BQB", 12, amount, mint.decimals)
            return call(mint.program, body, source, (mint.key, ""), target, owner)
        return call(mint.program, struct.pack("<BQ", 3, amount), source, target, owner)

    def burning(self, account: Pubkey, amount: int) -> Instruction:
        mint, owner = self.mints[account], (self.owners[account].pubkey(), "s")
        body = struct.pack("<BQ", 8, amount)
        return call(mint.program, body, account, mint.key, owner)

    def closing(self, account: Pubkey) -> Instruction:
        owner = (self.owners[account].pubkey(), "s")
        return call(
            self.mints[account].program, b"\x09", account, self.payer.pubkey(), owner
        )

    def giving_away(self, account: Pubkey, owner: Keypair) -> Instruction:
        """Make somebody else the account's owner (SetAuthority)."""
        old, self.owners[account] = self.owners[account], owner
        body = b"\x06\x02\x01" + bytes(owner.pubkey())
        return call(self.mints[account].program, body, account, (old.pubkey(), "s"))

    def owner(self, account: Pubkey) -> Keypair:
        return self.owners[account]

    def act(self) -> None:
        """Do one thing at random, with one or several instructions."""
        source = self.chance.choice(list(self.mints))
        alike = [
            each for each, mint in self.mints.items() if mint is self.mints[source]
        ]
        target, held = self.chance.choice(alike), self.held(source) or 0
        part = self.chance.randint(0, held)
        choice = self.chance.randrange(6)
        owner = self.owners[source]
        if choice == 0 or not held:
            amount = self.chance.choice([1, 7, 10**6 + 1, 10**15 + 3])
            self.do(self.minting(source, amount))
        elif choice == 1:
            self.do(self.burning(source, part), signers=[owner])
        elif choice == 2:
            heir = self.person()
            self.do(self.giving_away(source, heir), signers=[owner])
        elif choice == 3 and target != source:
            there = self.moving(source, target, part)
            more = self.minting(target, self.chance.randint(1, 99))
            self.do(there, more, signers=[owner])
        else:
            checked = bool(self.mints[source].fee_bps) or self.chance.random() < 0.5
            self.do(self.moving(source, target, part, checked=checked), signers=[owner])

    def held(self, account: Pubkey, commitment="confirmed") -> int | None:
        """What a node says that an account holds; None: there is no such account."""
        asked = {"encoding": "base64", "commitment": commitment}
        if self.devnet.call("getAccountInfo", str(account), asked)["value"] is None:
            return None
        told = self.devnet.call(
            "getTokenAccountBalance", str(account), {"commitment": commitment}
        )
        return int(told["value"]["amount"])


def call(program: Pubkey, data: bytes, *accounts) -> Instruction:
    """An instruction; accounts are writable, or pairs of a key and `s`igner or ``."""
    metas = []
    for each in accounts:
        key, how = each if isinstance(each, tuple) else (each, "w")
        metas.append(AccountMeta(key, is_signer=how == "s", is_writable=how == "w"))
    return Instruction(program, data, metas)
