"""Questions to Solana nodes, the client that asks them, and the words of refusals.

An endpoint is known by its genesis hash, which the chain id of CAIP-2 begins with:
`solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp`.
"""

from collections.abc import Sequence
from typing import Any

from indexer.errors import Permanent
from indexer.rpc.answers import RpcCall
from indexer.rpc.client import Client
from indexer.rpc.refusals import SEE_NODE, ErrorClass, ErrorKind
from indexer.rpc.refusals import classify as classify_words
from indexer.solana.messages import (
    MAX_VERSION,
    RpcBlock,
    RpcSignature,
    RpcStatuses,
    RpcTransaction,
)

PAGE_MAX = 1000  # lines of a listing that nodes give at once
STATUSES_MAX = 256
REFERENCE_LENGTH = 32  # characters of the genesis hash in a chain id

GENESIS = RpcCall("getGenesisHash", (), str)
CONFIRMED = RpcCall("getSlot", ({"commitment": "confirmed"},), int)
FINALIZED = RpcCall("getSlot", ({"commitment": "finalized"},), int)
FIRST_BLOCK = RpcCall("getFirstAvailableBlock", (), int)

# agave's rpc-client-api, custom_error.rs
_CODES = {
    -32001: ErrorKind.MISSING,  # a block was cleaned up
    -32004: ErrorKind.MISSING,  # a block is not there yet
    -32005: ErrorKind.MISSING,  # the node is behind
    -32007: ErrorKind.SKIPPED,
    -32008: ErrorKind.MISSING,  # no snapshot
    -32009: ErrorKind.SKIPPED,  # or missing in the archive
    -32011: ErrorKind.OTHER,  # the node keeps no history: another may
    -32014: ErrorKind.MISSING,  # the status of a block is not there yet
    -32015: ErrorKind.VERSION,
    -32016: ErrorKind.MISSING,  # the node has not reached a slot that was asked for
}
_REMEDIES = {
    -32011: "add an endpoint that keeps the history of transactions "
    "(agave: --enable-rpc-transaction-history)",
}


class SolanaClient(Client):
    """All endpoints of one cluster; `others` are as `indexer.rpc.client` has them."""

    chain_id: str

    def __init__(self, endpoints: Sequence[str], chain_id: str, **others: Any) -> None:
        namespace, _, reference = chain_id.partition(":")
        if namespace != "solana" or not 1 <= len(reference) <= REFERENCE_LENGTH:
            raise Permanent(
                f"{chain_id!r} is no chain id of Solana: write solana: and the first "
                f"{REFERENCE_LENGTH} characters of the genesis hash"
            )
        super().__init__(
            endpoints,
            chain_id,
            identity=GENESIS,
            read_identity=identity,
            classify=classify,
            **others,
        )


def identity(genesis: str) -> str:
    """Return the chain id of the cluster with a genesis hash."""
    return f"solana:{genesis[:REFERENCE_LENGTH]}"


def classify(code: int, message: str) -> ErrorClass:
    """Classify an error by its code, which Solana's nodes share; else by its words."""
    if code in _CODES:
        return ErrorClass(_CODES[code], remedy=_REMEDIES.get(code, SEE_NODE))
    return classify_words(code, message)


def block_call(slot: int, *, signatures: bool = False) -> RpcCall:
    """Ask for a block; null when its slot was skipped."""
    config = {
        "encoding": "json",
        "transactionDetails": "signatures" if signatures else "none",
        "rewards": False,
        "commitment": "confirmed",
        "maxSupportedTransactionVersion": MAX_VERSION,
    }
    return RpcCall("getBlock", (slot, config), RpcBlock, nullable=True)


def blocks_call(first: int, last: int) -> RpcCall:
    """Ask which slots of a range have a block."""
    return RpcCall("getBlocks", (first, last, {"commitment": "confirmed"}), list[int])


def transaction_call(signature: str) -> RpcCall:
    """Ask for a transaction; null is "not yet", never "none"."""
    config = {
        "encoding": "json",
        "commitment": "confirmed",
        "maxSupportedTransactionVersion": MAX_VERSION,
    }
    return RpcCall("getTransaction", (signature, config), RpcTransaction)


def page_call(
    address: str, before: str | None, limit: int, least: int | None = None
) -> RpcCall:
    """Ask for a page of a listing; with `least`, of a node that has reached that slot.

    Surfpool 1.5 leaves out what is below `least`.
    """
    config: dict[str, Any] = {"commitment": "confirmed", "limit": limit}
    if least is not None:
        config["minContextSlot"] = least
    if before is not None:
        config["before"] = before
    return RpcCall("getSignaturesForAddress", (address, config), list[RpcSignature])


def statuses_call(signatures: Sequence[str]) -> RpcCall:
    """Ask how signatures stand, those of long ago too."""
    config = {"searchTransactionHistory": True}
    return RpcCall("getSignatureStatuses", (list(signatures), config), RpcStatuses)
