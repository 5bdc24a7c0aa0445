"""Questions to Solana nodes, the client that asks them, and the words of refusals.

An endpoint is known by its genesis hash, which the chain id of CAIP-2 begins with:
`solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp`.
"""

from collections.abc import Sequence
from typing import Any

from indexer.errors import Permanent
from indexer.rpc.answers import Call
from indexer.rpc.client import Client
from indexer.rpc.refusals import SEE_NODE, Refusal, Verdict
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

GENESIS = Call("getGenesisHash", (), str)
CONFIRMED = Call("getSlot", ({"commitment": "confirmed"},), int)
FINALIZED = Call("getSlot", ({"commitment": "finalized"},), int)
FIRST_BLOCK = Call("getFirstAvailableBlock", (), int)

# agave's rpc-client-api, custom_error.rs
_CODES = {
    -32001: Refusal.MISSING,  # a block was cleaned up
    -32004: Refusal.MISSING,  # a block is not there yet
    -32005: Refusal.MISSING,  # the node is behind
    -32007: Refusal.SKIPPED,
    -32008: Refusal.MISSING,  # no snapshot
    -32009: Refusal.SKIPPED,  # or missing in the archive
    -32011: Refusal.OTHER,  # the node keeps no history: another may
    -32014: Refusal.MISSING,  # the status of a block is not there yet
    -32015: Refusal.VERSION,
    -32016: Refusal.MISSING,  # the node has not reached a slot that was asked for
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


def classify(code: int, message: str) -> Verdict:
    """Classify an error by its code, which Solana's nodes share; else by its words."""
    if code in _CODES:
        return Verdict(_CODES[code], remedy=_REMEDIES.get(code, SEE_NODE))
    return classify_words(code, message)


def block_call(slot: int, *, signatures: bool = False) -> Call:
    """Ask for a block; null when its slot was skipped."""
    config = {
        "encoding": "json",
        "transactionDetails": "signatures" if signatures else "none",
        "rewards": False,
        "commitment": "confirmed",
        "maxSupportedTransactionVersion": MAX_VERSION,
    }
    return Call("getBlock", (slot, config), RpcBlock, nullable=True)


def blocks_call(first: int, last: int) -> Call:
    """Ask which slots of a range have a block."""
    return Call("getBlocks", (first, last, {"commitment": "confirmed"}), list[int])


def transaction_call(signature: str) -> Call:
    """Ask for a transaction; null is "not yet", never "none"."""
    config = {
        "encoding": "json",
        "commitment": "confirmed",
        "maxSupportedTransactionVersion": MAX_VERSION,
    }
    return Call("getTransaction", (signature, config), RpcTransaction)


def page_call(address: str, before: str | None, limit: int, least: int) -> Call:
    """Ask for a page of a listing, of a node that has reached slot `least`."""
    config: dict[str, Any] = {
        "commitment": "confirmed",
        "limit": limit,
        "minContextSlot": least,
    }
    if before is not None:
        config["before"] = before
    return Call("getSignaturesForAddress", (address, config), list[RpcSignature])


def statuses_call(signatures: Sequence[str]) -> Call:
    """Ask how signatures stand, those of long ago too."""
    config = {"searchTransactionHistory": True}
    return Call("getSignatureStatuses", (list(signatures), config), RpcStatuses)
