"""A client of one Solana node, for deploying, demonstrations and tests: blocking.

It speaks to any node: what only the development node has is in ``Devnet``.
"""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction

from devnet.rpc import Rpc, RpcError
from ops.errors import OperationError

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
SYSTEM = Pubkey.default()
LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
RENT = Pubkey.from_string("SysvarRent111111111111111111111111111111111")
CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
UPGRADER = Keypair.from_seed(
    sha256(b"chainfold development program: upgrades").digest()
)
"""May upgrade the programs of a development chain: public, worth nothing."""

MINT_BYTES = 82
TOKEN_ACCOUNT_BYTES = 165
CHUNK_BYTES = 900
BUFFER_HEADER, PROGRAM_DATA_HEADER, PROGRAM_BYTES = 37, 45, 36
LAND_SECONDS_MAX = 60.0


class TransactionFailedError(OperationError):
    """A transaction landed with an error, or did not land."""


class Client:
    """One node by its URL, and a key that pays."""

    def __init__(self, url: str, payer: Keypair | None = None) -> None:
        self.rpc = Rpc(url)
        self.payer = payer or Keypair()

    # Any: a JSON value whose shape the method defines.
    def call(self, method: str, *params: object) -> Any:
        """Call a JSON-RPC method."""
        return self.rpc.call(method, *params)

    def fund(self, key: Pubkey | None = None, lamports: int = 10**10) -> str:
        """Ask the faucet, and wait until the lamports are there."""
        signature: str = self.call(
            "requestAirdrop", str(key or self.payer.pubkey()), lamports
        )
        self.wait(signature)
        return signature

    def blockhash(self, commitment: str = "confirmed") -> Hash:
        """Return a blockhash to sign with."""
        found = self.call("getLatestBlockhash", {"commitment": commitment})
        return Hash.from_string(found["value"]["blockhash"])

    def sign(
        self, instructions: Sequence[Instruction], signers: Sequence[Keypair] = (),
        *, legacy: bool = True, blockhash: Hash | None = None,
    ) -> VersionedTransaction:  # fmt: skip
        """Return a signed transaction, legacy or of version 0."""
        key, recent = self.payer.pubkey(), blockhash or self.blockhash()
        message = (
            Message.new_with_blockhash(instructions, key, recent)
            if legacy
            else MessageV0.try_compile(key, instructions, [], recent)
        )
        return VersionedTransaction(message, [self.payer, *signers])

    def post(self, transaction: VersionedTransaction | bytes, **config: Any) -> str:
        """Send a transaction and return its signature, landed or not."""
        config = {
            "encoding": "base64", "preflightCommitment": "confirmed", **config
        }  # fmt: skip
        text = base64.b64encode(bytes(transaction)).decode()
        signature: str = self.call("sendTransaction", text, config)
        return signature

    def send(
        self, *instructions: Instruction, signers: Sequence[Keypair] = (),
        legacy: bool = True, **config: Any,
    ) -> str:  # fmt: skip
        """Sign and send instructions, and wait until they are confirmed."""
        sent = self.sign(instructions, signers, legacy=legacy)
        signature = self.post(sent, **config)
        self.wait(signature)
        return signature

    def wait(self, signature: str, commitment: str = "confirmed") -> dict[str, Any]:
        """Wait for a transaction; raise when it failed or does not come."""
        reached = ("processed", "confirmed", "finalized").index(commitment)
        deadline = time.monotonic() + LAND_SECONDS_MAX
        while time.monotonic() < deadline:
            [found] = self.call(
                "getSignatureStatuses", [signature], {"searchTransactionHistory": True}
            )["value"]
            if found and found["err"] is not None:
                raise TransactionFailedError(f"{signature} failed: {found['err']}")
            levels = ("processed", "confirmed", "finalized")
            if found and levels.index(found["confirmationStatus"]) >= reached:
                status: dict[str, Any] = found
                return status
            self._pass_time()
        raise TransactionFailedError(
            f"{signature} did not land in {LAND_SECONDS_MAX:.0f} s: does time pass?"
        )

    def transaction(
        self, signature: str, commitment: str = "confirmed", **config: Any
    ) -> Any:
        """Return a transaction of any version, or None."""
        asked = {"commitment": commitment, "maxSupportedTransactionVersion": 1}
        return self.call("getTransaction", signature, {**asked, **config})

    def rent(self, size: int) -> int:
        """Return the lamports that an account of a size needs."""
        return int(self.call("getMinimumBalanceForRentExemption", size))

    def make_mint(self, decimals: int = 6, mint: Keypair | None = None) -> Pubkey:
        """Make a mint of SPL Token with the payer as its authority."""
        made, key = mint or Keypair(), self.payer.pubkey()
        self.send(
            _create(key, made.pubkey(), self.rent(MINT_BYTES), MINT_BYTES, TOKEN),
            Instruction(
                TOKEN,
                bytes([20, decimals]) + bytes(key) + b"\0",  # InitializeMint2
                [AccountMeta(made.pubkey(), is_signer=False, is_writable=True)],
            ),
            signers=[made],
        )
        return made.pubkey()

    def make_account(self, mint: Pubkey, owner: Pubkey) -> Pubkey:
        """Make the associated token account of an owner, if it is not there."""
        account = associated(owner, mint)
        accounts = [
            AccountMeta(self.payer.pubkey(), is_signer=True, is_writable=True),
            AccountMeta(account, is_signer=False, is_writable=True),
            *(
                AccountMeta(one, is_signer=False, is_writable=False)
                for one in (owner, mint, SYSTEM, TOKEN)
            ),
        ]
        self.send(Instruction(ASSOCIATED, b"\1", accounts))
        return account

    def make_token_account(self, mint: Pubkey, owner: Pubkey) -> Pubkey:
        """Make a token account at an address of its own, beside the associated one."""
        made, key = Keypair(), self.payer.pubkey()
        size = TOKEN_ACCOUNT_BYTES
        self.send(
            _create(key, made.pubkey(), self.rent(size), size, TOKEN),
            Instruction(
                TOKEN,
                bytes([18]) + bytes(owner),  # InitializeAccount3
                [
                    AccountMeta(made.pubkey(), is_signer=False, is_writable=True),
                    AccountMeta(mint, is_signer=False, is_writable=False),
                ],
            ),
            signers=[made],
        )
        return made.pubkey()

    def mint_to(self, mint: Pubkey, account: Pubkey, amount: int) -> str:
        """Mint tokens into an account."""
        return self.send(mint_to(mint, account, self.payer.pubkey(), amount))

    def deploy(self, data: bytes, program: Keypair) -> None:
        """Deploy a program through the upgradeable loader, as on a real cluster."""
        key, buffer = self.payer.pubkey(), Keypair()
        size = BUFFER_HEADER + len(data)
        self.send(
            _create(key, buffer.pubkey(), self.rent(size), size, LOADER),
            Instruction(
                LOADER,
                struct.pack("<I", 0),  # InitializeBuffer
                [
                    AccountMeta(buffer.pubkey(), is_signer=False, is_writable=True),
                    AccountMeta(key, is_signer=False, is_writable=False),
                ],
            ),
            signers=[buffer],
        )
        written = [
            self.post(self.sign([_write(buffer.pubkey(), key, start, data)]))
            for start in range(0, len(data), CHUNK_BYTES)
        ]
        for signature in written:
            self.wait(signature)
        self.send(
            _create(
                key, program.pubkey(), self.rent(PROGRAM_BYTES), PROGRAM_BYTES, LOADER
            ),
            _deploy(key, program.pubkey(), buffer.pubkey(), len(data)),
            signers=[program],
        )

    def _pass_time(self) -> None:
        time.sleep(0.02)


class Devnet(Client):
    """A client of the development node, which can also be steered."""

    def advance(self, slots: int = 1, skip: int = 0) -> int:
        """Go on by slots, leaving some out, and return the open slot."""
        return int(self.call("devnet_advance", {"slots": slots, "skip": skip}))

    def fork(
        self, depth: int, keep: Sequence[str] | float = (), seed: int = 0
    ) -> list[str]:
        """Drop the last blocks; return the signatures that are gone.

        Those kept, by name or a share by seed, land again, in another slot and order.
        """
        asked = keep if isinstance(keep, float | int) else list(keep)
        gone: list[str] = self.call(
            "devnet_fork", {"depth": depth, "keep": asked, "seed": seed}
        )
        return gone

    def fault(self, **rule: Any) -> None:
        """Add a fault: by rule (``kind=``) or by seed (``seed=``, ``share=``)."""
        self.call("devnet_fault", rule)

    def clear(self) -> None:
        """End all faults."""
        self.call("devnet_clearFaults")

    def add_program(self, key: Pubkey, data: bytes) -> None:
        """Put a program at an address at once; it can be called in the next slot.

        ``UPGRADER`` may upgrade it.
        """
        text = base64.b64encode(data).decode()
        self.call("devnet_addProgram", {"pubkey": str(key), "data": text})

    def _pass_time(self) -> None:
        """Let a chain without a clock go on."""
        try:
            if self.call("devnet_state")["manual"]:
                self.advance()
                return
        except RpcError:
            pass
        super()._pass_time()


def associated(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Return the address of an owner's token account for a mint."""
    seeds = [bytes(owner), bytes(TOKEN), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED)[0]


def mint_to(
    mint: Pubkey, account: Pubkey, authority: Pubkey, amount: int
) -> Instruction:
    """Return the instruction that mints tokens into an account."""
    accounts = [
        AccountMeta(mint, is_signer=False, is_writable=True),
        AccountMeta(account, is_signer=False, is_writable=True),
        AccountMeta(authority, is_signer=True, is_writable=False),
    ]
    return Instruction(TOKEN, struct.pack("<BQ", 7, amount), accounts)


def pay_tokens(
    source: Pubkey,
    mint: Pubkey,
    target: Pubkey,
    owner: Pubkey,
    amount: int,
    decimals: int,
) -> Instruction:
    """Return the instruction that moves tokens, with the mint checked."""
    accounts = [
        AccountMeta(source, is_signer=False, is_writable=True),
        AccountMeta(mint, is_signer=False, is_writable=False),
        AccountMeta(target, is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=True, is_writable=False),
    ]
    return Instruction(TOKEN, struct.pack("<BQB", 12, amount, decimals), accounts)


def _create(
    payer: Pubkey, made: Pubkey, lamports: int, space: int, owner: Pubkey
) -> Instruction:
    return create_account(
        CreateAccountParams(
            from_pubkey=payer,
            to_pubkey=made,
            lamports=lamports,
            space=space,
            owner=owner,
        )
    )


def _write(buffer: Pubkey, authority: Pubkey, start: int, data: bytes) -> Instruction:
    """Loader instruction 1: offset, then bytes with a length of eight bytes."""
    piece = data[start : start + CHUNK_BYTES]
    return Instruction(
        LOADER,
        struct.pack("<IIQ", 1, start, len(piece)) + piece,
        [
            AccountMeta(buffer, is_signer=False, is_writable=True),
            AccountMeta(authority, is_signer=True, is_writable=False),
        ],
    )


def _deploy(payer: Pubkey, program: Pubkey, buffer: Pubkey, size: int) -> Instruction:
    """Loader instruction 2: the most bytes that the program may ever have."""
    data, _ = Pubkey.find_program_address([bytes(program)], LOADER)
    writable = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        *(
            AccountMeta(one, is_signer=False, is_writable=True)
            for one in (data, program, buffer)
        ),
    ]
    readonly = [
        AccountMeta(one, is_signer=False, is_writable=False)
        for one in (RENT, CLOCK, SYSTEM)
    ]
    authority = AccountMeta(payer, is_signer=True, is_writable=False)
    return Instruction(
        LOADER, struct.pack("<IQ", 2, size), [*writable, *readonly, authority]
    )
