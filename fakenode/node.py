"""One node: takes the bytes of a request, gives the bytes of an answer, or none.

`Node.answer` is all there is: `fakenode.server` puts it behind HTTP and WebSocket, and
tests call it in their own process. A batch is answered by one node in one piece, its
calls one after the other, as real ones do.
"""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from eth_utils.address import to_checksum_address

from fakenode.answers import Answer, as_json, early, failed, late
from fakenode.chain import Block, Chain, Log
from fakenode.encoding import to_hex
from fakenode.faults import LIES, Faults, spoil
from fakenode.profiles import Profile, Refusal

FINAL_BEHIND = 64  # how far `finalized` is behind the head, where that is a tag


class RpcFault(Exception):
    """An error of JSON-RPC."""

    def __init__(self, refusal: Refusal, **values: object) -> None:
        self.code, self.message = refusal.code, refusal.text.format(**values)
        super().__init__(self.message)


class Node:
    """A chain as one profile tells it, with faults and at its own height.

    `behind` blocks of the chain are not there yet. `number` tells nodes of the same
    chain apart. `chain_id` is what it says its chain is, when it lies about that.
    `final_behind` is how far its `finalized` block is below the head.
    """

    def __init__(
        self, chain: Chain, profile: Profile, *, faults: Faults | None = None,
        number: int = 0, behind: int = 0, chain_id: int | None = None,
        final_behind: int = FINAL_BEHIND,
    ) -> None:  # fmt: skip
        self.chain, self.profile, self.faults = chain, profile, faults
        self.number, self.behind, self.chain_id = number, behind, chain_id
        self.final_behind = final_behind
        self.down = False
        self.requests = 0
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # by the limit that was passed
        self.faulted: Counter[str] = Counter()
        self._told: dict[tuple[bytes, bool], dict[str, Any]] = {}
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": self._chain_id,
            "net_version": self._net_version,
            "web3_clientVersion": self._version,
            "eth_syncing": lambda head: False,
            "eth_blockNumber": lambda head: hex(head),
            "eth_gasPrice": lambda head: hex(10**9),
            "eth_getCode": lambda head, address, block: "0x60",
            "eth_getBalance": lambda head, address, block: hex(10**18),
            "eth_getTransactionCount": lambda head, address, block: "0x0",
            "eth_call": lambda head, call, block="latest": "0x",
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._logs,
            "eth_getTransactionByHash": self._transaction_by_hash,
            "eth_getTransactionReceipt": self._receipt_by_hash,
        }
        if profile.block_receipts:
            self._methods["eth_getBlockReceipts"] = self._receipts_of

    @property
    def head(self) -> int:
        """The highest block that this node has."""
        return max(self.chain.head - self.behind, 0)

    def answer(self, body: bytes) -> Answer:
        """Answer one request."""
        self.requests += 1
        if self.down:
            return Answer(trouble="drop")
        trouble = None if self.faults is None else self.faults.draw(body)
        if trouble is not None and trouble.kind not in LIES:
            self.faulted[trouble.kind] += 1
            at_once = early(trouble)
            if at_once is not None:
                return at_once
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            return as_json(failed(None, -32700, "parse error"))
        head = self.head
        if trouble is not None and trouble.kind == "lagging":
            head = max(head - 1 - trouble.roll % 4, 0)
        replies = self._reply(message, head)
        if trouble is not None and trouble.kind in LIES:
            calls = message if isinstance(message, list) else [message]
            answered = replies if isinstance(replies, list) else [replies]
            told = spoil(trouble, self, calls, answered)
            if told is not None:
                self.faulted[told] += 1
        encoded = as_json(replies)
        return encoded if trouble is None else late(trouble, encoded)

    def _reply(self, message: Any, head: int) -> Any:
        if not isinstance(message, list):
            return self._one(message, head)
        most, empty = self.profile.max_batch, self.profile.empty_batch_refusal
        if not message and empty is not None:
            return failed(None, empty.code, empty.text)
        if most is None or len(message) <= most:
            return [self._one(call, head) for call in message]
        self.refused["batch"] += 1
        refusal = self.profile.batch_refusal
        text = refusal.text.format(limit=most, size=len(message))
        if self.profile.batch_form == "object":
            return failed(None, refusal.code, text)
        return [failed(message[0].get("id"), refusal.code, text)]

    def _one(self, call: dict[str, Any], head: int) -> dict[str, Any]:
        name = call.get("method", "")
        self.calls[name] += 1
        method = self._methods.get(name)
        try:
            if method is None:
                raise RpcFault(self.profile.no_method, method=name)
            result = method(head, *call.get("params", []))
        except RpcFault as fault:
            return failed(call.get("id"), fault.code, fault.message)
        except (TypeError, ValueError, KeyError, AttributeError):
            return failed(call.get("id"), -32602, "Invalid Params")
        return {"jsonrpc": "2.0", "id": call.get("id"), "result": result}

    def _chain_id(self, head: int) -> str:
        return hex(self.chain_id or self.chain.chain_id)

    def _net_version(self, head: int) -> str:
        return str(self.chain_id or self.chain.chain_id)

    def _version(self, head: int) -> str:
        return self.profile.version.format(chain=self.chain.chain_id)

    def _height(self, head: int, named: str) -> int:
        """The height of a tag or a number."""
        if named in ("latest", "pending"):
            return head
        if named == "earliest":
            return 0
        if named in ("finalized", "safe"):
            if named not in self.profile.tags:
                raise RpcFault(self.profile.unknown_tag)
            return max(head - self.final_behind, 0)
        if not named.startswith("0x"):
            raise RpcFault(self.profile.unknown_tag)
        return int(named, 16)

    def _block_by_number(self, head: int, named: str, full: bool) -> Any:
        height = self._height(head, named)
        return (
            self.tell_block(self.chain.blocks[height], full) if height <= head else None
        )

    def _block_by_hash(self, head: int, wanted: str, full: bool) -> Any:
        block = self._find(head, wanted)
        return None if block is None else self.tell_block(block, full)

    def _find(self, head: int, wanted: str) -> Block | None:
        digest = bytes.fromhex(wanted[2:])
        found = (b for b in self.chain.blocks[: head + 1] if b.hash == digest)
        return next(found, None)

    def _logs(self, head: int, query: dict[str, Any]) -> Any:
        if "blockHash" in query:
            block = self._find(head, query["blockHash"])
            if block is None:
                raise RpcFault(self.profile.no_block_refusal)
            return self.matching([block], query)
        first = self._height(head, query.get("fromBlock", "latest"))
        last = self._height(head, query.get("toBlock", "latest"))
        self._check_query(first, last, head, query)
        found = self.matching(self.chain.blocks[first : min(last, head) + 1], query)
        most = self.profile.max_results
        if most is not None and len(found) > most and last > first:
            self.refused["results"] += 1
            fits = int(found[most - 1]["blockNumber"], 16) - 1
            raise RpcFault(
                self.profile.results_refusal,
                limit=most, first=hex(first), last=last, fits=hex(max(fits, first)),
            )  # fmt: skip
        return found

    def _check_query(
        self, first: int, last: int, head: int, query: dict[str, Any]
    ) -> None:
        profile = self.profile
        if first > head and profile.first_beyond_refusal is not None:
            raise RpcFault(profile.first_beyond_refusal, first=first, head=head)
        if last < first and profile.reversed_refusal is not None:
            raise RpcFault(profile.reversed_refusal, first=first, last=last)
        if profile.max_range is not None and last - first + 1 > profile.max_range:
            self.refused["range"] += 1
            fits = hex(first + profile.max_range - 1)
            raise RpcFault(
                profile.range_refusal,
                limit=profile.max_range, first=hex(first), last=hex(last), fits=fits,
            )  # fmt: skip
        positions = [query.get("address"), *(query.get("topics") or [])]
        terms = [len(each) for each in positions if isinstance(each, list)]
        if profile.max_terms is not None and max(terms, default=0) > profile.max_terms:
            self.refused["terms"] += 1
            raise RpcFault(profile.terms_refusal, limit=profile.max_terms)
        if last > head and profile.beyond_head == "refuse":
            raise RpcFault(profile.beyond_refusal)

    def matching(
        self, blocks: list[Block], query: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The logs of these blocks that a query asks for, in the profile's form."""
        return [
            self.tell_log(block, *place)
            for block in blocks
            for place in block.logs
            if _matches(place[3], query)
        ]

    def _transaction_by_hash(self, head: int, wanted: str) -> Any:
        for block, at in self._places(head, wanted):
            return self._transaction(block, at)
        return None

    def _receipt_by_hash(self, head: int, wanted: str) -> Any:
        for block, at in self._places(head, wanted):
            return self.tell_receipt(block, at)
        return None

    def _places(self, head: int, wanted: str) -> list[tuple[Block, int]]:
        digest = bytes.fromhex(wanted[2:])
        return [
            (block, at)
            for block in self.chain.blocks[: head + 1]
            for at, (own, _) in enumerate(block.transactions)
            if own == digest
        ]

    def _receipts_of(self, head: int, named: str) -> Any:
        if len(named) == 66:
            block = self._find(head, named)
            if block is None:
                return None
            height = block.number
        else:
            height = self._height(head, named)
        if height > head:
            return None
        block = self.chain.blocks[height]
        return [self.tell_receipt(block, at) for at in range(len(block.receipts))]

    def tell_block(self, block: Block, full: bool = False) -> dict[str, Any]:
        """A block in the profile's form; the caller may change what it is given."""
        key = (block.hash, full)
        if key not in self._told:
            self._told[key] = self._block(block, full)
        return copy.copy(self._told[key])

    def _block(self, block: Block, full: bool) -> dict[str, Any]:
        values: dict[str, Any] = {
            name: _json_value(value) for name, value in block.fields.items()
        }
        values |= {
            "hash": to_hex(block.hash),
            "logsBloom": f"0x{block.fields['logsBloom']:0512x}",
            "extraData": to_hex(block.extra_data(self.number)),
            "totalDifficulty": hex(block.fields["difficulty"]),
            "size": hex(block.size_bytes),
            "transactions": [
                self._transaction(block, at) if full else to_hex(own)
                for at, (own, _) in enumerate(block.transactions)
            ],
            "uncles": [], "withdrawals": [],
        }  # fmt: skip
        return {name: values[name] for name in self.profile.block if name in values}

    def _transaction(self, block: Block, at: int) -> dict[str, Any]:
        own, tx = block.transactions[at]
        values: dict[str, Any] = {
            "hash": to_hex(own), "from": self.address(tx.sender),
            "to": None if tx.recipient is None else self.address(tx.recipient),
            "nonce": hex(tx.nonce), "value": hex(tx.value), "input": to_hex(tx.data),
            "gas": hex(tx.gas_used * 2), "gasPrice": hex(10**9),
            "maxFeePerGas": hex(2 * 10**9), "maxPriorityFeePerGas": hex(10**9),
            "blockHash": to_hex(block.hash), "blockNumber": hex(block.number),
            "transactionIndex": hex(at), "type": hex(self.chain.form.tx_type),
            "accessList": [], "chainId": hex(self.chain.chain_id),
            "blockTimestamp": hex(block.time),
            "v": "0x1", "r": to_hex(own), "s": to_hex(own[::-1]), "yParity": "0x1",
        }  # fmt: skip
        return {name: values[name] for name in self.profile.transaction}

    def tell_log(
        self, block: Block, at: int, in_tx: int, in_block: int, log: Log,
        *, of_receipt: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """A log in the profile's form."""
        profile = self.profile
        index = in_tx if profile.log_index == "transaction" else in_block
        # Receipts of Edge up to 0.9 tell the log's own place as its transaction's.
        told_at = in_tx if of_receipt and profile.receipt_log_position else at
        values = {
            "address": self.address(log.address),
            "topics": [to_hex(topic) for topic in log.topics],
            "data": to_hex(log.data), "blockNumber": hex(block.number),
            "blockHash": to_hex(block.hash), "transactionIndex": hex(told_at),
            "transactionHash": to_hex(block.transactions[at][0]),
            "logIndex": hex(index), "removed": False,
            "blockTimestamp": hex(block.time),
        }  # fmt: skip
        return {name: values[name] for name in profile.log}

    def tell_receipt(self, block: Block, at: int) -> dict[str, Any]:
        """A receipt in the profile's form."""
        own, tx = block.transactions[at]
        receipt = block.receipts[at]
        places = [place for place in block.logs if place[0] == at]
        values = {
            "root": to_hex(bytes(32)), "status": hex(receipt.status),
            "cumulativeGasUsed": hex(receipt.cumulative),
            "gasUsed": hex(receipt.gas_used), "effectiveGasPrice": hex(10**9),
            "blobGasPrice": "0x1",
            "blockTimestamp": block.time,  # anvil writes this one as a plain number
            "logsBloom": f"0x{receipt.bloom:0512x}",
            "logs": [self.tell_log(block, *p, of_receipt=True) for p in places],
            "transactionHash": to_hex(own), "transactionIndex": hex(at),
            "blockHash": to_hex(block.hash), "blockNumber": hex(block.number),
            "contractAddress": None, "from": self.address(tx.sender),
            "to": None if tx.recipient is None else self.address(tx.recipient),
            "type": hex(self.chain.form.tx_type),
        }  # fmt: skip
        return {name: values[name] for name in self.profile.receipt}

    def address(self, value: bytes) -> str:
        """An address, in mixed case where the profile writes it so."""
        return to_checksum_address(value) if self.profile.checksum else to_hex(value)


def _json_value(value: bytes | int) -> str:
    return to_hex(value) if isinstance(value, bytes) else hex(value)


def _matches(log: Log, query: dict[str, Any]) -> bool:
    addresses = query.get("address")
    if isinstance(addresses, str):
        addresses = [addresses]
    if addresses and to_hex(log.address) not in [a.lower() for a in addresses]:
        return False
    for at, wanted in enumerate(query.get("topics") or []):
        if not wanted:
            continue
        options = [wanted] if isinstance(wanted, str) else wanted
        if at >= len(log.topics) or to_hex(log.topics[at]) not in options:
            return False
    return True
