"""Kinds of nodes and providers: their methods, forms, limits and words.

Each value is as a real one answered or as its source has it:

- Polygon Edge 0.6.3, 0.9.0, 1.3.1: recorded from real nodes (the fixtures of the tests
  hold blocks, receipts and logs of all three); words from jsonrpc/errors.go,
  jsonrpc/dispatcher.go, jsonrpc/filter_manager.go of 0xPolygon/polygon-edge.
- geth: rpc/handler.go, rpc/errors.go, eth/filters/api.go, internal/ethapi of
  ethereum/go-ethereum (1.16).
- Erigon: rpc/http.go, rpc/handler.go, rpc/jsonrpc/eth_receipts.go of
  erigontech/erigon.
- anvil: compared with a running one by tests/fakenode/test_anvil.py.
- Providers: the words of their refusals as users report them, and their documented
  limits: Alchemy (docs.alchemy.com, eth_getLogs), Infura (docs.infura.io, error codes),
  QuickNode (quicknode.com, eth_getLogs), Ankr and Chainstack (their docs' limits).

Limits are the real ones unless a test makes them small (`dataclasses.replace`).
"""

from dataclasses import dataclass

EDGE_BLOCK = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot",
    "receiptsRoot", "logsBloom", "difficulty", "totalDifficulty", "size", "number",
    "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "hash",
    "transactions", "uncles",
)  # fmt: skip
GETH_BLOCK = (
    "baseFeePerGas", "blobGasUsed", "difficulty", "excessBlobGas", "extraData",
    "gasLimit", "gasUsed", "hash", "logsBloom", "miner", "mixHash", "nonce", "number",
    "parentBeaconBlockRoot", "parentHash", "receiptsRoot", "requestsHash",
    "sha3Uncles", "size", "stateRoot", "timestamp", "transactions",
    "transactionsRoot", "uncles", "withdrawals", "withdrawalsRoot",
)  # fmt: skip
ANVIL_BLOCK = (*EDGE_BLOCK, "baseFeePerGas")
EDGE_RECEIPT = (
    "root", "cumulativeGasUsed", "logsBloom", "logs", "status", "transactionHash",
    "transactionIndex", "blockHash", "blockNumber", "gasUsed", "contractAddress",
    "from", "to",
)  # fmt: skip
GETH_RECEIPT = (
    "blockHash", "blockNumber", "contractAddress", "cumulativeGasUsed",
    "effectiveGasPrice", "from", "gasUsed", "logs", "logsBloom", "status", "to",
    "transactionHash", "transactionIndex", "type",
)  # fmt: skip
LOG = (
    "address", "topics", "data", "blockNumber", "transactionHash", "transactionIndex",
    "blockHash", "logIndex", "removed",
)  # fmt: skip
EDGE_TX = (
    "nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s", "hash", "from",
    "blockHash", "blockNumber", "transactionIndex", "type",
)  # fmt: skip
GETH_TX = (
    "blockHash", "blockNumber", "from", "gas", "gasPrice", "maxFeePerGas",
    "maxPriorityFeePerGas", "hash", "input", "nonce", "to", "transactionIndex",
    "value", "type", "accessList", "chainId", "v", "r", "s", "yParity",
)  # fmt: skip
ANVIL_TX = (
    "type", "chainId", "nonce", "gasPrice", "gas", "to", "value", "input", "r", "s",
    "v", "hash", "blockHash", "blockNumber", "transactionIndex", "from",
    "blockTimestamp",
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """A code of JSON-RPC and its words; `{limit}`, `{first}`, … are filled in."""

    code: int
    text: str


NO_METHOD = Refusal(-32601, "the method {method} does not exist/is not available")


@dataclass(frozen=True)
class Profile:
    """One kind of node.

    `beyond_head` is what eth_getLogs does with blocks that are not there: "cut" leaves
    them out in silence, "refuse" answers with an error. `batch_form` is how a long
    batch is refused: one error "object", or a "list" of one with the first call's id.
    `log_index` counts from 0 in each "transaction" or through the "block".
    """

    name: str
    form: str
    version: str
    finality: str = "tag"  # "instant", "tag" or "depth"
    tags: frozenset[str] = frozenset({"finalized", "safe"})
    unknown_tag: Refusal = Refusal(-32602, "invalid argument 0: hex string without 0x")
    block: tuple[str, ...] = GETH_BLOCK
    receipt: tuple[str, ...] = GETH_RECEIPT
    transaction: tuple[str, ...] = GETH_TX
    log: tuple[str, ...] = LOG
    checksum: bool = False
    log_index: str = "block"
    receipt_log_position: bool = False  # logs of receipts tell their place as the tx's
    block_receipts: bool = True
    no_method: Refusal = NO_METHOD
    max_batch: int | None = None
    batch_form: str = "list"
    batch_refusal: Refusal = Refusal(-32600, "batch too large")
    max_range: int | None = None
    range_refusal: Refusal = Refusal(-32602, "exceed maximum block range: {limit}")
    max_results: int | None = None
    results_refusal: Refusal = Refusal(
        -32005, "query returned more than {limit} results"
    )
    max_terms: int | None = None
    terms_refusal: Refusal = Refusal(
        -32602, "exceed max addresses or topics per search position"
    )
    max_topics: int = 4
    beyond_head: str = "cut"
    beyond_refusal: Refusal = Refusal(
        -32000, "block range extends beyond current head block"
    )
    first_beyond_refusal: Refusal | None = None  # of a range wholly above the head
    reversed_refusal: Refusal | None = Refusal(-32602, "invalid block range params")
    empty_batch_refusal: Refusal | None = Refusal(-32600, "empty batch")
    no_block_refusal: Refusal = Refusal(-32000, "unknown block")


# Every error of an endpoint is -32600 in Edge; only tags and parameters are -32602.
_EDGE = {
    "finality": "instant", "tags": frozenset[str](), "checksum": True,
    "unknown_tag": Refusal(-32602, "Invalid Params"),
    "block": EDGE_BLOCK, "receipt": EDGE_RECEIPT, "transaction": EDGE_TX,
    "block_receipts": False,
    "max_batch": 20, "batch_form": "object",
    "batch_refusal": Refusal(-32600, "Batch request length too long"),
    "max_range": 1001, "range_refusal": Refusal(-32600, "block range too high"),
    "reversed_refusal": Refusal(-32600, "incorrect range"),
    "no_block_refusal": Refusal(-32600, "block not found"),
    "empty_batch_refusal": None,
}  # fmt: skip
_EDGE_OLD = {**_EDGE, "log_index": "transaction", "receipt_log_position": True}

EDGE_06 = Profile(
    "edge-0.6", "ibft-0.6", "polygon-edge [chain-id: {chain}] [version: 0.6.3]",
    **_EDGE_OLD,  # type: ignore[arg-type]
)  # fmt: skip
EDGE_09 = Profile(
    "edge-0.9", "ibft-ecdsa", "polygon-edge [chain-id: {chain}] [version: 0.9.0]",
    **_EDGE_OLD,  # type: ignore[arg-type]
)  # fmt: skip
EDGE_13 = Profile(
    "edge-1.3", "ibft-bls", "polygon-edge/v1.3.1/linux-amd64/go1.19",
    **_EDGE,  # type: ignore[arg-type]
)  # fmt: skip
EDGE_POLYBFT = Profile(
    "edge-polybft", "polybft", "polygon-edge/v1.3.1/linux-amd64/go1.19",
    **{**_EDGE, "block": (*EDGE_BLOCK, "baseFeePerGas")},  # type: ignore[arg-type]
)  # fmt: skip

# rpc.batch-request-limit is 1000 by default; a batch over it is a list of one error
# with the id of the first call (rpc/handler.go, respondWithBatchTooLarge).
GETH = Profile(
    "geth", "ethereum", "Geth/v1.16.4-stable/linux-amd64/go1.25.1",
    log=(*LOG, "blockTimestamp"), max_batch=1000, max_terms=1000,
    beyond_head="refuse",
)  # fmt: skip
# rpc.batch.limit is 100; the refusal is one object (rpc/http.go).
ERIGON = Profile(
    "erigon", "ethereum", "erigon/3.0.4/linux-amd64/go1.24.1",
    max_batch=100, batch_form="object",
    batch_refusal=Refusal(
        -32000,
        "batch limit {limit} exceeded (can increase by --rpc.batch.limit). Requested "
        "batch of size: {size}",
    ),
    reversed_refusal=Refusal(-32000, "end ({last}) < begin ({first})"),
)  # fmt: skip
ANVIL = Profile(
    "anvil", "anvil", "anvil/v1.7.1",
    finality="depth", log=(*LOG, "blockTimestamp"), block=ANVIL_BLOCK,
    receipt=(*GETH_RECEIPT, "blobGasPrice", "blockTimestamp"), transaction=ANVIL_TX,
    no_method=Refusal(-32601, "Method not found"),
    unknown_tag=Refusal(-32602, "hex string without 0x prefix"),
    first_beyond_refusal=Refusal(
        -32602,
        "BlockOutOfRangeError: block height is {head} but requested was {first}",
    ),
    reversed_refusal=None, empty_batch_refusal=Refusal(-32600, "Invalid request"),
)  # fmt: skip
ALCHEMY = Profile(
    "alchemy", "ethereum", "Geth/v1.16.4-stable/linux-amd64/go1.25.1",
    max_batch=1000, max_range=2000, max_results=10_000,
    range_refusal=Refusal(
        -32600,
        "You can make eth_getLogs requests with up to a {limit} block range. Based on "
        "your parameters, this block range should work: [{first}, {fits}]",
    ),
    results_refusal=Refusal(
        -32602,
        "Log response size exceeded. You can make eth_getLogs requests with up to a "
        "2K block range and no limit on the response size, or you can request any "
        "block range with a cap of {limit} logs in the response. Based on your "
        "parameters and the response size limit, this block range should work: "
        "[{first}, {fits}]",
    ),
)  # fmt: skip
INFURA = Profile(
    "infura", "ethereum", "Geth/v1.16.4-stable/linux-amd64/go1.25.1",
    max_results=10_000,
    results_refusal=Refusal(
        -32005,
        "query returned more than {limit} results. Try with this block range "
        "[{first}, {fits}].",
    ),
)  # fmt: skip
QUICKNODE = Profile(
    "quicknode", "ethereum", "Geth/v1.16.4-stable/linux-amd64/go1.25.1",
    max_range=10_000,
    range_refusal=Refusal(-32614, "eth_getLogs is limited to a {limit} range"),
)  # fmt: skip
ANKR = Profile(
    "ankr", "ethereum", "erigon/3.0.4/linux-amd64/go1.24.1",
    max_range=1000, range_refusal=Refusal(-32600, "block range is too wide"),
)  # fmt: skip
CHAINSTACK = Profile(
    "chainstack", "ethereum", "Geth/v1.16.4-stable/linux-amd64/go1.25.1",
    max_range=100,
    range_refusal=Refusal(
        -32000, "Block range limit exceeded. Block range is limited to {limit} blocks."
    ),
)  # fmt: skip

PROFILES = {
    profile.name: profile
    for profile in (
        EDGE_06, EDGE_09, EDGE_13, EDGE_POLYBFT, GETH, ERIGON, ANVIL, ALCHEMY, INFURA,
        QUICKNODE, ANKR, CHAINSTACK,
    )
}  # fmt: skip
