"""Signed transactions as wallets hand them over: read, and checked.

Legacy transactions with replay protection (EIP-155), access lists (EIP-2930) and
dynamic fees (EIP-1559), in their canonical encoding only.
"""

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from commands.errors import BadTransaction
from commands.lane import SIGNED_BYTES_MAX
from db.bounded import load_rlp

# A transaction is a list; in it the access list; in that its entries; in one the keys.
RLP_DEPTH_MAX = 4
_LEGACY_FIELDS, _ACCESS_LIST_FIELDS, _DYNAMIC_FEE_FIELDS = 9, 11, 12
# Where a typed transaction has: nonce, gas, to, value, data.
_PLACES = {1: (1, 3, 4, 5, 6), 2: (1, 4, 5, 6, 7)}


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """A signed transaction and its signer; `value` and prices in wei.

    `gas_price` is the most that a unit of gas may cost; `priority_fee` only of type 2.
    """

    raw: bytes
    hash: bytes
    chain_id: int
    sender: bytes
    nonce: int
    gas: int
    to: bytes
    value: int
    data: bytes
    gas_price: int
    priority_fee: int | None = None


def read_raw(raw: bytes) -> RawTransaction:
    """Decode a signed transaction; raises BadTransaction for invalid bytes."""
    if not raw or len(raw) > SIGNED_BYTES_MAX:
        raise BadTransaction(
            f"{len(raw)} bytes are not a signed transaction: send what the wallet's "
            "eth_signTransaction gave, as 0x…"
        )
    try:
        if raw[0] >= 0xC0:
            return _legacy(raw)
        return _typed(raw)
    except BadTransaction:
        raise
    except Exception as error:  # every part may be anything at all
        raise BadTransaction(
            "the bytes are not a signed transaction: send what the wallet's "
            "eth_signTransaction gave, as 0x…"
        ) from error


def _legacy(raw: bytes) -> RawTransaction:
    parts = _decoded(raw)
    _check(len(parts) == _LEGACY_FIELDS)
    v = _number(parts[6])
    if v in (27, 28):
        raise BadTransaction(
            "the transaction is valid on every chain: sign it for one (EIP-155)"
        )
    _check(v >= 37)
    content = [parts[i] for i in (0, 2, 3, 4, 5)]
    return _read(raw, (v - 35) // 2, content, _number(parts[1]))


def _typed(raw: bytes) -> RawTransaction:
    kind = raw[0]
    if kind not in _PLACES:
        raise BadTransaction(
            f"transactions of type {kind} are not taken: sign one of type 0, 1 or 2"
        )
    parts = _decoded(raw[1:])
    fields = _ACCESS_LIST_FIELDS if kind == 1 else _DYNAMIC_FEE_FIELDS
    _check(len(parts) == fields)
    content, chain_id = [parts[i] for i in _PLACES[kind]], _number(parts[0])
    if kind == 1:
        return _read(raw, chain_id, content, _number(parts[2]))
    return _read(raw, chain_id, content, _number(parts[3]), _number(parts[2]))


def _decoded(encoded: bytes) -> Any:
    return load_rlp(encoded, depth_max=RLP_DEPTH_MAX)


def _read(
    raw: bytes,
    chain_id: int,
    parts: list[Any],
    gas_price: int,
    priority_fee: int | None = None,
) -> RawTransaction:
    nonce, gas, to, value, data = parts
    if to == b"":
        raise BadTransaction("the transaction makes a contract: that is not relayed")
    _check(len(to) == 20)
    # No chain takes larger ones (EIP-2681 for nonces), nor do the tables.
    _check(_number(nonce) < 1 << 64 and _number(gas) < 1 << 63)
    _check(max(_number(value), gas_price) < 1 << 256)
    sender = Account.recover_transaction(raw)
    return RawTransaction(
        raw=raw,
        hash=keccak(raw),
        chain_id=chain_id,
        sender=bytes.fromhex(sender[2:]),
        nonce=_number(nonce),
        gas=_number(gas),
        to=to,
        value=_number(value),
        data=data,
        gas_price=gas_price,
        priority_fee=priority_fee,
    )


def _number(part: Any) -> int:
    """An integer without leading zeros, which the encoding forbids."""
    _check(isinstance(part, bytes) and part[:1] != b"\0")
    return int.from_bytes(part)


def _check(right: bool) -> None:
    if not right:
        raise ValueError
