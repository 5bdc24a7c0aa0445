"""Recompute the hash of a header from its fields.

Two forms are known. Ethereum's is the RLP of the Yellow Paper (4.4) with what later
forks appended: base fee (EIP-1559), withdrawals (4895), blob gas (4844), beacon root
(4788), requests (7685). Polygon Edge's IBFT leaves out `mixHash` and `nonce`, and takes
`extraData` without the seals, which are made over that very hash (`indexer.evm.ibft`).
"""

import enum
from collections.abc import Callable
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_hash.auto import keccak

from indexer.evm import ibft
from indexer.evm.messages import Quantity, RpcSealedHeader, quantity, unhex
from indexer.rpc.messages import Malformed

IBFT_MIX = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
"""`mixHash` of every IBFT block but the first."""


class HeaderHash(enum.Enum):
    """A way of hashing headers; the value is that of the trait `header`."""

    ETHEREUM = "ethereum"
    IBFT = "ibft"


def form_of(header: RpcSealedHeader) -> HeaderHash | None:
    """Return the way of hashing that gives the node's hash; None: neither does."""
    wanted = unhex(header.hash, 32)
    likely = [HeaderHash.ETHEREUM, HeaderHash.IBFT]
    if header.mix_hash == IBFT_MIX:
        likely.reverse()
    return next((form for form in likely if hash_of(header, form) == wanted), None)


def hash_of(header: RpcSealedHeader, form: HeaderHash) -> bytes | None:
    """The header's hash under a form, None where it cannot have that form."""
    try:
        if form is HeaderHash.ETHEREUM:
            return keccak(rlp.encode(_ethereum(header)))
        extra = ibft.hashed_extra(_bytes(header.extra_data))
        return keccak(rlp.encode(_common(header, extra)))
    except (_Lacking, ibft.NotIbft):
        return None


class _Lacking(Exception):
    """The node left out a field that the hash covers."""


def _common(header: RpcSealedHeader, extra: bytes) -> list[bytes]:
    return [
        _bytes(header.parent_hash, 32),
        _bytes(header.sha3_uncles, 32),
        _bytes(header.miner),  # longer than an address in votes of BLS chains
        _bytes(header.state_root, 32),
        _bytes(header.transactions_root, 32),
        _bytes(header.receipts_root, 32),
        _bytes(header.logs_bloom, 256),
        _number(header.difficulty),
        _number(header.number),
        _number(header.gas_limit),
        _number(header.gas_used),
        _number(header.timestamp),
        extra,
    ]


def _ethereum(header: RpcSealedHeader) -> list[bytes]:
    fields = _common(header, _bytes(header.extra_data))
    fields += [_bytes(header.mix_hash, 32), _bytes(header.nonce, 8)]
    later: tuple[tuple[Any, Callable[[Any], bytes]], ...] = (
        (header.base_fee_per_gas, _number),
        (header.withdrawals_root, _bytes),
        (header.blob_gas_used, _number),
        (header.excess_blob_gas, _number),
        (header.parent_beacon_block_root, _bytes),
        (header.requests_hash, _bytes),
    )
    for value, read in later:
        if value is None:
            break
        fields.append(read(value))
    return fields


def _bytes(text: str | None, size: int | None = None) -> bytes:
    if text is None:
        raise _Lacking
    return unhex(text, size)


def _number(text: Quantity | None) -> bytes:
    """A quantity as RLP takes it: big-endian without leading zeros."""
    if text is None:
        raise _Lacking
    value = quantity(text)
    if value.bit_length() > 256:
        raise Malformed(f"{str(text)[:80]!r} has more than 256 bits: ask again")
    return value.to_bytes((value.bit_length() + 7) // 8)
