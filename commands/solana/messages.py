"""Signed transactions as wallets hand them over: read within bounds, and verified.

A message is legacy or of version 0, and names every account itself: one that a lookup
table resolves may be another one by the time it lands. One of version 1 is not read,
for the library knows none.
"""

from dataclasses import dataclass

from solders.message import Message, MessageV0, to_bytes_versioned
from solders.transaction import VersionedTransaction

from commands.errors import BadTransaction
from commands.solana.transaction import BYTES_MAX
from idl.base58 import to_base58

HOW = "send what the wallet's signTransaction gave, as base64"
_VERSION_1 = 0x81  # with which a whole transaction of version 1 begins (SIMD-0385)


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction with the keys of its accounts; what they may is the message's."""

    program: bytes
    data: bytes
    accounts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WalletTransaction:
    """A signed transaction; `flags` is for each key whether it signs, and is written.

    `signers` are in order, and the first one pays. Every signature was verified.
    """

    raw: bytes
    signature: bytes
    blockhash: bytes
    signers: tuple[bytes, ...]
    steps: tuple[Step, ...]
    flags: dict[bytes, tuple[bool, bool]]


def read_transaction(raw: bytes) -> WalletTransaction:
    """Decode a transaction and verify its signatures; raises BadTransaction."""
    if not 0 < len(raw) <= BYTES_MAX:
        raise BadTransaction(
            f"{len(raw)} bytes are no transaction of Solana, which has at most "
            f"{BYTES_MAX}: {HOW}"
        )
    if raw[0] == _VERSION_1:
        raise BadTransaction(
            "the transaction is of version 1, which is not taken yet: sign it as a "
            "legacy transaction, or of version 0"
        )
    try:
        found = VersionedTransaction.from_bytes(raw)
        found.sanitize()
        whole = bytes(found) == raw  # nothing behind it, and lengths as they must be
    except Exception:  # of the library's own kinds, and ValueError
        whole = False
    if not whole:
        raise BadTransaction(f"the bytes are no transaction of Solana: {HOW}")
    message = found.message
    if isinstance(message, MessageV0) and message.address_table_lookups:
        table = message.address_table_lookups[0].account_key
        raise BadTransaction(
            f"the message takes accounts from the lookup table {table}, which may say "
            "others by the time it lands: sign it with every account in the message, "
            "a command's `message` as it is"
        )
    return _read(raw, found, message)


def _read(
    raw: bytes, found: VersionedTransaction, message: Message | MessageV0
) -> WalletTransaction:
    keys = [bytes(key) for key in message.account_keys]
    signers = tuple(keys[: message.header.num_required_signatures])
    signed = to_bytes_versioned(message)
    for signature, key in zip(found.signatures, message.account_keys, strict=False):
        if not signature.verify(key, signed):
            raise BadTransaction(
                f"the signature of {key} is not of this message: sign it again with "
                "that wallet"
            )
    if len(set(keys)) != len(keys):
        raise BadTransaction(f"the message names an account twice: {HOW}")
    return WalletTransaction(
        raw=raw,
        signature=bytes(found.signatures[0]),
        blockhash=bytes(message.recent_blockhash),
        signers=signers,
        steps=steps_of(message),
        flags=flags_of(message),
    )


def steps_of(message: Message | MessageV0) -> tuple[Step, ...]:
    """Return the instructions of a message whose accounts are all in it."""
    keys = [bytes(key) for key in message.account_keys]
    return tuple(
        Step(
            keys[each.program_id_index],
            bytes(each.data),
            tuple(keys[place] for place in bytes(each.accounts)),
        )
        for each in message.instructions
    )


def flags_of(message: Message | MessageV0) -> dict[bytes, tuple[bool, bool]]:
    """Return for each key whether it signs and whether it may be written."""
    header, keys = message.header, [bytes(key) for key in message.account_keys]
    signing = header.num_required_signatures
    written = signing - header.num_readonly_signed_accounts
    unsigned_written = len(keys) - header.num_readonly_unsigned_accounts
    return {
        key: (
            at < signing,
            at < written if at < signing else at < unsigned_written,
        )
        for at, key in enumerate(keys)
    }


def named(step: Step) -> str:
    """Return an instruction's program and how its data begins, for people."""
    return f"0x{step.data[:8].hex()} of {to_base58(step.program)}"
