"""Receipts of a block as proof that none of its logs is missing.

A header's `receiptsRoot` is the root of a Merkle Patricia trie from the RLP of each
transaction's index to its receipt: `rlp([status, cumulative gas, bloom, logs])`, with
the type in front for typed transactions (Yellow Paper 4.4.1, EIP-2718, EIP-658).
Polygon Edge builds the same trie.
"""

from collections.abc import Sequence

import rlp  # type: ignore[import-untyped]
from trie.hexary import HexaryTrie

from indexer.evm.messages import RpcLog, RpcReceiptLog, RpcWholeReceipt, quantity, unhex
from indexer.rpc.messages import Malformed

EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
"""The root of a trie without entries: no transactions, so no logs."""


def receipts_root(receipts: Sequence[RpcWholeReceipt]) -> bytes:
    """The root of the trie of a block's receipts, given in order."""
    trie = HexaryTrie({})
    for index, receipt in enumerate(receipts):
        trie[rlp.encode(index)] = _encoded(receipt)
    root: bytes = trie.root_hash
    return root


def logs_of(receipts: Sequence[RpcWholeReceipt]) -> list[RpcReceiptLog]:
    """All logs of a block in chain order."""
    return [log for receipt in receipts for log in receipt.logs]


def same_logs(received: Sequence[RpcLog], proved: Sequence[RpcReceiptLog]) -> bool:
    """Whether logs received are exactly those of the receipts, in order."""
    return len(received) == len(proved) and all(
        one.address.lower() == other.address.lower()
        and [t.lower() for t in one.topics] == [t.lower() for t in other.topics]
        and one.data.lower() == other.data.lower()
        for one, other in zip(received, proved, strict=True)
    )


def _encoded(receipt: RpcWholeReceipt) -> bytes:
    if receipt.status is not None:
        status = b"\x01" if quantity(receipt.status) else b""
    else:
        status = unhex(receipt.root or "", 32)
    body: bytes = rlp.encode(
        [
            status,
            quantity(receipt.cumulative_gas_used),
            unhex(receipt.logs_bloom, 256),
            [
                [unhex(log.address, 20), list(map(unhex, log.topics)), unhex(log.data)]
                for log in receipt.logs
            ],
        ]
    )
    kind = quantity(receipt.type or "0x0")
    if kind > 0x7F:
        raise Malformed(f"a receipt is of type {kind}, which no transaction has")
    return body if kind == 0 else bytes([kind]) + body
