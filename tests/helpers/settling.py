"""The program `settlement` in LiteSVM, with USDC, a treasury and people to pay."""

from __future__ import annotations

import random
import struct

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from devnet.programs.build import program
from devnet.solana import ledger, settlement
from devnet.solana.client import LOADER, TOKEN, associated
from devnet.solana.settlement import Purchase, Settings

LAMPORTS = 10**12


def token_account(
    mint: Pubkey, owner: Pubkey, amount: int = 0, state: int = 1
) -> bytes:
    """What SPL Token keeps in an account (state.rs, 165 bytes)."""
    return (
        bytes(mint) + bytes(owner) + struct.pack("<Q", amount) + bytes(36)
        + bytes([state]) + bytes(12 + 8 + 36)
    )  # fmt: skip


def token_mint(authority: Pubkey, decimals: int = 6) -> bytes:
    """What SPL Token keeps in a mint that can freeze (82 bytes)."""
    one = struct.pack("<I", 1) + bytes(authority)
    return one + struct.pack("<QBB", 0, decimals, 1) + one


class Town:
    """A chain with the program configured; what is sent is signed by whoever must."""

    def __init__(self, seed: int = 0, *, fee_bps: int = 1_000, funds: int = 10**13):
        self.chance = random.Random(seed)
        self.vm = LiteSVM()
        self.vm.add_program(settlement.PROGRAM, program("settlement"))
        self.vm.add_program(ledger.PROGRAM, program("ledger"))
        self.deployer, self.admin = self.person(), self.person()
        self.authority, self.payer, self.bank = (self.person() for _ in range(3))
        self.keys = {
            each.pubkey(): each
            for each in (
                self.deployer, self.admin, self.authority, self.payer, self.bank
            )
        }  # fmt: skip
        for key in self.keys:
            self.vm.airdrop(key, LAMPORTS)
        self.own_program(self.deployer.pubkey())
        self.usdc = self.mint()
        self.treasury = self.give(self.authority.pubkey(), funds)
        self.settings = Settings(
            self.authority.pubkey(), fee_bps, "Édition", "ED", "https://e.example/m/"
        )
        self.fee_bps = fee_bps

    def person(self) -> Keypair:
        return Keypair.from_seed(self.chance.randbytes(32))

    def somebody(self) -> Pubkey:
        """A person with USDC account and nothing in it."""
        key = self.person().pubkey()
        self.give(key, 0)
        return key

    def put(self, key: Pubkey, data: bytes, owner: Pubkey = TOKEN) -> Pubkey:
        self.vm.set_account(key, Account(10**9, data, owner))
        return key

    def own_program(self, authority: Pubkey | None) -> None:
        """Write the program data of the upgradeable loader: who may upgrade."""
        named = b"\0" * 33 if authority is None else b"\1" + bytes(authority)
        data = struct.pack("<IQ", 3, 7) + named
        self.put(settlement.program_data(), data, LOADER)

    def mint(self, decimals: int = 6) -> Pubkey:
        key = self.person().pubkey()
        return self.put(key, token_mint(self.bank.pubkey(), decimals))

    def give(self, owner: Pubkey, amount: int, mint: Pubkey | None = None) -> Pubkey:
        """Give somebody USDC in the associated account."""
        mint = mint or self.usdc
        data = token_account(mint, owner, amount)
        return self.put(associated(owner, mint), data)

    def held(self, owner: Pubkey) -> int:
        return self.amount(associated(owner, self.usdc))

    def amount(self, account: Pubkey) -> int:
        (found,) = struct.unpack_from("<Q", self.data(account), 64)
        return found

    def data(self, key: Pubkey) -> bytes:
        found = self.vm.get_account(key)
        assert found is not None, f"{key} does not exist"
        return bytes(found.data)

    def initialized(self) -> Town:
        done, _ = self.send(self.initialize())
        assert not isinstance(done, FailedTransactionMetadata), done
        return self

    def initialize(self, **changed) -> Instruction:
        asked = {
            "upgrade_authority": self.deployer.pubkey(), "admin": self.admin.pubkey(),
            "usdc": self.usdc, "settings": self.settings,
        }  # fmt: skip
        return settlement.initialize(**{**asked, **changed})

    def purchase(self, *points: int, **changed) -> Purchase:
        """A purchase by and for new people, with these shares."""
        asked = {
            "identity": self.chance.randbytes(16),
            "buyer": self.person().pubkey(),
            "distributable": self.chance.randint(10**4, 10**9),
            "shares": tuple((self.somebody(), share) for share in points or [10_000]),
            "payment_hash": self.chance.randbytes(32),
            "metadata_hash": self.chance.randbytes(32),
        }
        return Purchase(**{**asked, **changed})

    def settle(self, purchase: Purchase, **changed) -> Instruction:
        asked = {
            "payer": self.payer.pubkey(), "treasury": self.treasury, "usdc": self.usdc,
            "treasury_authority": self.authority.pubkey(),
        }  # fmt: skip
        return settlement.settle_purchase(purchase=purchase, **{**asked, **changed})

    def sign(self, *instructions: Instruction) -> Transaction:
        self.vm.expire_blockhash()
        message = Message(list(instructions), self.payer.pubkey())
        wanted = message.account_keys[: message.header.num_required_signatures]
        signers = [self.keys[key] for key in wanted]
        return Transaction(signers, message, self.vm.latest_blockhash())

    def send(self, *instructions: Instruction):
        sent = self.sign(*instructions)
        return self.vm.send_transaction(sent), sent

    def done(self, *instructions: Instruction):
        """Send and expect success; return the metadata and the transaction."""
        done, sent = self.send(*instructions)
        assert not isinstance(done, FailedTransactionMetadata), done
        return done, sent

    def refusal(self, *instructions: Instruction) -> str:
        """Send, expect a refusal, and return the name of its error."""
        done, sent = self.send(*instructions)
        assert isinstance(done, FailedTransactionMetadata), "it was not refused"
        error = done.err().err
        code = getattr(error, "code", None)
        return str(error) if code is None else settlement.error_name(code)

    def snapshot(self, instruction: Instruction) -> dict[Pubkey, bytes | None]:
        """Every account of an instruction as it is: owner, lamports, and data."""
        found = {each.pubkey: self.vm.get_account(each.pubkey) for each in
                 instruction.accounts}  # fmt: skip
        return {
            key: account and (account.owner, account.lamports, bytes(account.data))
            for key, account in found.items()
            if key != self.payer.pubkey()  # who pays the fee of what fails, too
        }


def reference(amount: int, fee_bps: int, shares) -> tuple[int, list[int], int]:
    """The platform's fee, what each recipient gets, and the dust."""
    fee = amount * fee_bps // 10_000
    pool = amount - fee
    paid = [pool * share // 10_000 for share in shares]
    return fee, paid, pool - sum(paid)


def self_calls(done, sent) -> list[bytes]:
    """The data of the calls that the program made to itself."""
    keys = sent.message.account_keys
    return [
        bytes(inner.instruction().data)
        for group in done.inner_instructions()
        for inner in group
        if keys[inner.instruction().program_id_index] == settlement.PROGRAM
    ]


def with_account(call: Instruction, place: int, key: Pubkey) -> Instruction:
    """The same call with another key among its accounts, with the flags it had."""
    accounts = list(call.accounts)
    old = accounts[place]
    accounts[place] = AccountMeta(key, old.is_signer, old.is_writable)
    return Instruction(call.program_id, call.data, accounts)


def flagged(call: Instruction, place: int, *, signer=None, writable=None):
    """The same call with other flags of one account."""
    accounts = list(call.accounts)
    old = accounts[place]
    accounts[place] = AccountMeta(
        old.pubkey,
        old.is_signer if signer is None else signer,
        old.is_writable if writable is None else writable,
    )
    return Instruction(call.program_id, call.data, accounts)
