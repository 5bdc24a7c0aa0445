"""Instructions and accounts of the program `settlement`, encoded by hand.

Tests, demonstrations and deployments use it. The interface is ``idl/settlement.json``;
discriminators and errors are taken from there, the rest is written out, so that a codec
can be held against it. The functions take the program's address, which is another one
wherever somebody else deploys it.
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

from devnet.programs.build import interface
from devnet.solana.client import ASSOCIATED, LOADER, SYSTEM, TOKEN, associated

KEYPAIR = Keypair.from_seed(
    sha256(b"chainfold development program: settlement").digest()
)
"""The program's key on a development chain: public, worth nothing."""

PROGRAM = KEYPAIR.pubkey()
NFT_TOKEN = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
"""Token-2022: the NFTs are its mints."""

EVENT_CALL_TAG = bytes.fromhex("e445a52e51cb9a1d")
BASIS_POINTS = 10_000
RECIPIENTS_MAX = 12
UNITS_MAX = 300_000
"""A compute limit that any settlement keeps within: see the tests."""

NOBODY = Pubkey.default()

ANCHOR_ERRORS = {
    101: "InstructionFallbackNotFound",
    102: "InstructionDidNotDeserialize",
    2000: "ConstraintMut",
    2006: "ConstraintSeeds",
    3002: "AccountDiscriminatorMismatch",
    3005: "AccountNotEnoughKeys",
    3007: "AccountOwnedByWrongProgram",
    3008: "InvalidProgramId",
    3010: "AccountNotSigner",
    3012: "AccountNotInitialized",
}
"""The errors that programs share, by Anchor's names (lang/error.rs)."""

_RECEIPT = struct.Struct("<16s32sQQHBBQq32s32s32s")
_SETTLED = struct.Struct("<16s32s32s32sQQHQ32s32sI")
_PAYOUT = struct.Struct("<32sQH")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the admin chooses; the mint beside it is an account."""

    treasury_authority: Pubkey
    fee_bps: int = 1_000
    name: str = "Chainfold Edition"
    symbol: str = "FOLD"
    uri_base: str = "https://nft.example.org/"

    def encode(self) -> bytes:
        """Return it in borsh."""
        texts = (text.encode() for text in (self.name, self.symbol, self.uri_base))
        return b"".join(
            [
                bytes(self.treasury_authority),
                struct.pack("<H", self.fee_bps),
                *(struct.pack("<I", len(text)) + text for text in texts),
            ]
        )


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is settled: ``shares`` are the recipients and their basis points, in order.

    ``distributable`` is in micro-USDC, the platform's fee included.
    """

    identity: bytes
    buyer: Pubkey
    distributable: int
    shares: tuple[tuple[Pubkey, int], ...]
    payment_hash: bytes
    metadata_hash: bytes

    def encode(self) -> bytes:
        """Return the arguments in borsh."""
        points = [share for _, share in self.shares]
        return b"".join(
            [
                self.identity,
                struct.pack("<Q", self.distributable),
                self.payment_hash,
                self.metadata_hash,
                struct.pack(f"<I{len(points)}H", len(points), *points),
            ]
        )

    def terms(self, fee_bps: int, usdc: Pubkey) -> bytes:
        """Return the hash of the terms, as the receipt keeps it."""
        accounts = [bytes(associated(owner, usdc)) for owner, _ in self.shares]
        head = bytes(self.buyer) + struct.pack("<H", fee_bps)
        return sha256(head + self.encode() + b"".join(accounts)).digest()


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration as it is on the chain."""

    admin: Pubkey
    pending_admin: Pubkey
    usdc_mint: Pubkey
    settings: Settings


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as it is on the chain; amounts in micro-USDC, times in seconds."""

    purchase_id: bytes
    buyer: Pubkey
    amount: int
    paid: int
    fee_bps: int
    recipients: int
    bump: int
    slot: int
    settled_at: int
    payment_hash: bytes
    metadata_hash: bytes
    terms: bytes


@dataclass(frozen=True, slots=True)
class Payout:
    """What one recipient was paid."""

    recipient: Pubkey
    amount: int
    share_bps: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The event `PurchaseSettled`."""

    purchase_id: bytes
    buyer: Pubkey
    mint: Pubkey
    treasury: Pubkey
    amount: int
    platform_fee: int
    fee_bps: int
    dust: int
    payment_hash: bytes
    metadata_hash: bytes
    payouts: tuple[Payout, ...]


@cache
def discriminator(name: str) -> bytes:
    """Return the eight bytes before an instruction, an event or an account."""
    idl = interface("settlement")
    for space in ("instructions", "events", "accounts"):
        for item in idl[space]:
            if item["name"] == name:
                return bytes(item["discriminator"])
    raise KeyError(f"settlement.json has nothing called {name}")


def error_name(code: int) -> str:
    """Return the name of an error of the program, or its number when it has none."""
    own = {each["code"]: each["name"] for each in interface("settlement")["errors"]}
    return str(own.get(code) or ANCHOR_ERRORS.get(code) or code)


def error_text(code: int) -> str:
    """Return the name of an error and what to do about it."""
    own = {each["code"]: each["msg"] for each in interface("settlement")["errors"]}
    return f"{error_name(code)}: {own[code]}" if code in own else error_name(code)


def error_code(name: str) -> int:
    """Return the code of an error of the program; raises KeyError."""
    for each in interface("settlement")["errors"]:
        if each["name"] == name:
            return int(each["code"])
    raise KeyError(f"settlement.json has no error called {name}")


def config_address(program: Pubkey = PROGRAM) -> Pubkey:
    """Return the address of the configuration."""
    return Pubkey.find_program_address([b"config"], program)[0]


def receipt_address(identity: bytes, program: Pubkey = PROGRAM) -> Pubkey:
    """Return the address of a purchase's receipt."""
    return Pubkey.find_program_address([b"receipt", identity], program)[0]


def mint_address(identity: bytes, program: Pubkey = PROGRAM) -> Pubkey:
    """Return the address of a purchase's NFT."""
    return Pubkey.find_program_address([b"mint", identity], program)[0]


def nft_account(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Return the address of an owner's token account for an NFT."""
    seeds = [bytes(owner), bytes(NFT_TOKEN), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED)[0]


def program_data(program: Pubkey = PROGRAM) -> Pubkey:
    """Return where the upgradeable loader keeps the code and who may change it."""
    return Pubkey.find_program_address([bytes(program)], LOADER)[0]


def event_authority(program: Pubkey = PROGRAM) -> Pubkey:
    """Return the address that signs the events by self-call."""
    return Pubkey.find_program_address([b"__event_authority"], program)[0]


def initialize(
    upgrade_authority: Pubkey, admin: Pubkey, usdc: Pubkey, settings: Settings,
    program: Pubkey = PROGRAM,
) -> Instruction:  # fmt: skip
    """Make the configuration, once."""
    accounts = [
        AccountMeta(upgrade_authority, True, True),
        AccountMeta(admin, True, False),
        AccountMeta(config_address(program), False, True),
        _plain(usdc),
        _plain(program_data(program)),
        _plain(SYSTEM),
    ]
    return _call("initialize", settings.encode(), accounts, program)


def configure(
    admin: Pubkey, usdc: Pubkey, settings: Settings, program: Pubkey = PROGRAM
) -> Instruction:
    """Change the configuration."""
    accounts = [*_by_admin(admin, program), _plain(usdc)]
    return _call("configure", settings.encode(), accounts, program)


def propose_admin(
    admin: Pubkey, new_admin: Pubkey, program: Pubkey = PROGRAM
) -> Instruction:
    """Name who may become the admin; ``NOBODY`` takes it back."""
    accounts = _by_admin(admin, program)
    return _call("propose_admin", bytes(new_admin), accounts, program)


def accept_admin(new_admin: Pubkey, program: Pubkey = PROGRAM) -> Instruction:
    """Become the admin, as proposed."""
    return _call("accept_admin", b"", _by_admin(new_admin, program), program)


def settle_purchase(
    payer: Pubkey, treasury_authority: Pubkey, treasury: Pubkey, usdc: Pubkey,
    purchase: Purchase, program: Pubkey = PROGRAM,
) -> Instruction:  # fmt: skip
    """Mint the NFT and pay the recipients, whose accounts are their associated ones."""
    mint = mint_address(purchase.identity, program)
    accounts = [
        AccountMeta(payer, True, True),
        AccountMeta(treasury_authority, True, False),
        _plain(config_address(program)),
        AccountMeta(treasury, False, True),
        _plain(usdc),
        AccountMeta(receipt_address(purchase.identity, program), False, True),
        AccountMeta(mint, False, True),
        _plain(purchase.buyer),
        AccountMeta(nft_account(purchase.buyer, mint), False, True),
        *(_plain(key) for key in (TOKEN, NFT_TOKEN, ASSOCIATED, SYSTEM)),
    ]
    recipients = [
        AccountMeta(associated(owner, usdc), False, True)
        for owner, _ in purchase.shares
    ]
    return _call("settle_purchase", purchase.encode(), accounts, program, recipients)


def read_config(data: bytes) -> Config:
    """Return the configuration in an account's data; raises ValueError."""
    body = _body("Config", data)
    admin, pending, authority, usdc, fee = struct.unpack_from("<32s32s32s32sH", body)
    texts, at = [], 130
    for _ in range(3):
        (size,) = struct.unpack_from("<I", body, at)
        texts.append(body[at + 4 : at + 4 + size].decode())
        at += 4 + size
    settings = Settings(Pubkey(authority), fee, *texts)
    return Config(Pubkey(admin), Pubkey(pending), Pubkey(usdc), settings)


def read_receipt(data: bytes) -> Receipt:
    """Return the receipt in an account's data; raises ValueError."""
    identity, buyer, *rest = _RECEIPT.unpack(_body("Receipt", data))
    return Receipt(identity, Pubkey(buyer), *rest)


def read_settled(data: bytes) -> Settled:
    """Return the event in the data of a self-call; raises ValueError."""
    if data[:8] != EVENT_CALL_TAG:
        raise ValueError("this is no self-call of a program")
    body = _body("PurchaseSettled", data[8:])
    identity, buyer, mint, treasury, *money, payment, metadata, count = (
        _SETTLED.unpack_from(body)
    )
    payouts = tuple(
        Payout(Pubkey(key), amount, share)
        for key, amount, share in _PAYOUT.iter_unpack(body[_SETTLED.size :])
    )
    if len(payouts) != count:
        raise ValueError(f"the event names {count} payouts and has {len(payouts)}")
    amount, fee, fee_bps, dust = money
    return Settled(
        identity, Pubkey(buyer), Pubkey(mint), Pubkey(treasury), amount, fee, fee_bps,
        dust, payment, metadata, payouts,
    )  # fmt: skip


def _body(name: str, data: bytes) -> bytes:
    if data[:8] != discriminator(name):
        raise ValueError(f"this is no {name} of the program `settlement`")
    return data[8:]


def _plain(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)


def _by_admin(admin: Pubkey, program: Pubkey) -> list[AccountMeta]:
    return [
        AccountMeta(admin, True, False),
        AccountMeta(config_address(program), False, True),
    ]


def _call(
    name: str, arguments: bytes, accounts: Sequence[AccountMeta], program: Pubkey,
    more: Sequence[AccountMeta] = (),
) -> Instruction:  # fmt: skip
    """Every instruction ends with the event authority and the program, then others."""
    ending = [_plain(event_authority(program)), _plain(program)]
    data = discriminator(name) + arguments
    return Instruction(program, data, [*accounts, *ending, *more])
