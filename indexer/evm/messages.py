"""Messages of Ethereum's JSON-RPC, only the members we read, and their strict readers.

Everything is a string here as it is on the wire; `quantity` and `unhex` turn it into
numbers and bytes and raise `Malformed` for what a correct node never sends.
"""

import binascii

import msgspec

from indexer.rpc.messages import Malformed

Quantity = str | int  # `0x1f`; some nodes write a plain number


class RpcLog(msgspec.Struct, gc=False, rename="camel"):
    """A log."""

    address: str
    topics: list[str]
    data: str
    block_number: Quantity
    block_hash: str
    transaction_hash: str
    transaction_index: Quantity
    log_index: Quantity = ""
    removed: bool | None = None


class RpcTransaction(msgspec.Struct, gc=False, rename="camel"):
    """A transaction of a full block."""

    hash: str
    sender: str = msgspec.field(name="from")
    nonce: Quantity
    value: Quantity
    input: str
    gas: Quantity
    transaction_index: Quantity
    recipient: str | None = msgspec.field(name="to", default=None)


class RpcHeader(msgspec.Struct, gc=False, rename="camel"):
    """A block without its transactions."""

    number: Quantity
    hash: str
    parent_hash: str
    timestamp: Quantity
    logs_bloom: str | None = None
    receipts_root: str | None = None


class RpcBlock(RpcHeader, gc=False, rename="camel", kw_only=True):
    """A block with its transactions written out."""

    transactions: list[RpcTransaction]


class RpcSealedHeader(RpcHeader, gc=False, rename="camel", kw_only=True):
    """A block with all that its hash covers; transactions as hashes, or written out.

    Nodes that leave out a member are read all the same: such a header proves nothing.
    """

    sha3_uncles: str | None = None
    miner: str | None = None
    state_root: str | None = None
    transactions_root: str | None = None
    difficulty: Quantity | None = None
    gas_limit: Quantity | None = None
    gas_used: Quantity | None = None
    extra_data: str | None = None
    mix_hash: str | None = None
    nonce: str | None = None
    base_fee_per_gas: Quantity | None = None
    withdrawals_root: str | None = None
    blob_gas_used: Quantity | None = None
    excess_blob_gas: Quantity | None = None
    parent_beacon_block_root: str | None = None
    requests_hash: str | None = None
    transactions: list[str | RpcTransaction] = []


class RpcReceipt(msgspec.Struct, gc=False, rename="camel"):
    """The receipt of a transaction."""

    transaction_hash: str
    block_hash: str
    gas_used: Quantity
    status: Quantity


class RpcReceiptLog(msgspec.Struct, gc=False, rename="camel"):
    """A log of a receipt, without its position."""

    address: str
    topics: list[str]
    data: str


class RpcWholeReceipt(msgspec.Struct, gc=False, rename="camel"):
    """A receipt with all that the receipts' trie holds of it."""

    transaction_hash: str
    block_hash: str
    cumulative_gas_used: Quantity
    logs_bloom: str
    logs: list[RpcReceiptLog]
    status: Quantity | None = None
    root: str | None = None
    type: Quantity | None = None


def quantity(text: Quantity) -> int:
    """`0x1f` to 31; a plain number, as some nodes write it, to itself."""
    if isinstance(text, int) and text >= 0:
        return text
    text = str(text)
    if text[:2] != "0x" or not text.isascii() or not text[2:].isalnum():
        raise Malformed(f"{text[:80]!r} is not a hex quantity: ask again")
    try:
        return int(text, 16)
    except ValueError:
        raise Malformed(f"{text[:80]!r} is not a hex quantity: ask again") from None


def unhex(text: str, size: int | None = None) -> bytes:
    """`0x…` to bytes, of the given size if there is one."""
    try:
        if text[:2] != "0x":
            raise ValueError(text)
        data = binascii.unhexlify(text[2:])
    except ValueError:
        raise Malformed(f"{text[:80]!r} is not 0x-prefixed hex: ask again") from None
    if size is not None and len(data) != size:
        raise Malformed(f"{text[:80]!r} has {len(data)} bytes, not {size}: ask again")
    return data
