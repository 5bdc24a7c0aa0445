"""Messages of Solana's JSON-RPC, only the members we read.

Transactions are asked for with encoding `json` and `maxSupportedTransactionVersion` 1:
legacy, V0 and V1 have one form there, whatever they are on the wire. Keys and data are
base58 text; `index_keys` and `decode_data` turn them into bytes.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from solders.pubkey import Pubkey
from solders.signature import Signature

from idl.base58 import ALPHABET
from indexer.rpc.messages import Malformed

MAX_VERSION = 1
DATA_CHARS_MAX = 16_384  # in base58; a transaction of V1 has 4,096 bytes

_CHUNK = 10  # base58 digits that a 64-bit integer holds
_SCALE = 58**_CHUNK
_VALUES = np.full(256, 255, dtype=np.uint8)
_VALUES[np.frombuffer(ALPHABET.encode(), dtype=np.uint8)] = np.arange(58)
_POWERS = np.array([58**at for at in reversed(range(_CHUNK))], dtype=np.int64)


class RpcSignature(msgspec.Struct, gc=False, rename="camel"):
    """A line of getSignaturesForAddress."""

    signature: str
    slot: int
    err: Any = None
    confirmation_status: str | None = None
    transaction_index: int | None = None


class RpcStatus(msgspec.Struct, gc=False, rename="camel"):
    """The status of a signature."""

    slot: int
    confirmation_status: str | None = None
    err: Any = None


class RpcStatuses(msgspec.Struct, gc=False):
    """The answer of getSignatureStatuses."""

    value: list[RpcStatus | None]


class RpcBlock(msgspec.Struct, gc=False, rename="camel"):
    """A block, without transactions or with their signatures alone."""

    blockhash: str
    previous_blockhash: str
    parent_slot: int
    block_time: int | None = None
    signatures: list[str] | None = None


class RpcInstruction(msgspec.Struct, gc=False, rename="camel"):
    """An instruction; keys are told by their index."""

    program_id_index: int
    accounts: list[int]
    data: str
    stack_height: int | None = None


class RpcInner(msgspec.Struct, gc=False, rename="camel"):
    """The instructions that one of the transaction's own called, in order."""

    index: int
    instructions: list[RpcInstruction]


class RpcLoaded(msgspec.Struct, gc=False):
    """Keys that lookup tables added to a V0 transaction."""

    writable: list[str] = []
    readonly: list[str] = []


class RpcAmount(msgspec.Struct, gc=False):
    """An amount of tokens in the smallest unit, as decimal text."""

    amount: str
    decimals: int


class RpcTokenBalance(msgspec.Struct, gc=False, rename="camel"):
    """The balance of a token account, which is told by its index among the keys.

    Nodes did not always tell the owner and the token program.
    """

    account_index: int
    mint: str
    ui_token_amount: RpcAmount
    owner: str | None = None
    program_id: str | None = None


class RpcMeta(msgspec.Struct, gc=False, rename="camel"):
    """The results of running a transaction."""

    err: Any
    inner_instructions: list[RpcInner] | None = None
    log_messages: list[str] | None = None
    loaded_addresses: RpcLoaded | None = None
    pre_token_balances: list[RpcTokenBalance] | None = None
    post_token_balances: list[RpcTokenBalance] | None = None
    fee: int | None = None


class RpcMessage(msgspec.Struct, gc=False, rename="camel"):
    """The part of a transaction that was signed."""

    account_keys: list[str]
    instructions: list[RpcInstruction]


class RpcSigned(msgspec.Struct, gc=False):
    """A message with its signatures; the first is the transaction's id."""

    signatures: list[str]
    message: RpcMessage


class RpcTransaction(msgspec.Struct, gc=False, rename="camel"):
    """A transaction as getTransaction answers it."""

    slot: int
    transaction: RpcSigned
    meta: RpcMeta | None
    block_time: int | None = None
    transaction_index: int | None = None
    version: int | str = "legacy"


@lru_cache(maxsize=1 << 16)
def key_bytes(text: str) -> bytes:
    """Return the 32 bytes of a key, or of a hash; raises Malformed."""
    try:
        return bytes(Pubkey.from_string(text))
    except ValueError:
        raise Malformed(f"{text[:60]!r} is no key of 32 bytes: ask again") from None


def signature_bytes(text: str) -> bytes:
    """Return the 64 bytes of a signature; raises Malformed."""
    try:
        return bytes(Signature.from_string(text))
    except ValueError:
        raise Malformed(f"{text[:100]!r} is no signature: ask again") from None


def decode_data(texts: Sequence[str]) -> list[bytes]:
    """Return the bytes of the data of instructions, from base58.

    All digits are turned into integers of ten digits at once. Raises Malformed.
    """
    if not texts:
        return []
    if max(map(len, texts)) > DATA_CHARS_MAX:
        raise Malformed("an instruction is longer than transactions are: ask again")
    counts = [-(-len(text) // _CHUNK) for text in texts]
    padded = "".join(
        "1" * (count * _CHUNK - len(text)) + text
        for text, count in zip(texts, counts, strict=True)
    )
    try:
        digits = _VALUES[np.frombuffer(padded.encode("ascii"), dtype=np.uint8)]
    except UnicodeEncodeError:
        raise Malformed("the data of an instruction is not base58: ask again") from None
    if len(digits) and digits.max() > 57:
        raise Malformed("the data of an instruction is not base58: ask again")
    chunks = (digits.reshape(-1, _CHUNK) @ _POWERS).tolist()
    found, at = [], 0
    for text, count in zip(texts, counts, strict=True):
        number = 0
        for chunk in chunks[at : at + count]:
            number = number * _SCALE + chunk
        at += count
        zeros = len(text) - len(text.lstrip("1"))
        found.append(bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8))
    return found
