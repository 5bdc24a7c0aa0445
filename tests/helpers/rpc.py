"""A fake EVM node: an in-memory chain behind real JSON-RPC over HTTP, with switches.

    chain = FakeEvmChain()
    chain.mine(FakeLog(TOKEN, [topic0], data), FakeLog(…))     # one transaction
    chain.mine(FakeTx(logs=[…]), FakeTx(sender=A, reverted=b"…"))
    chain.mine_many(500)                                       # empty blocks
    chain.reorg(3)                                             # other blocks instead
    with FakeRpcServer(chain, **EDGE) as node:
        client = RpcClient([node.url], chain.chain_id)
        …
        assert node.calls["eth_getLogs"] == 1

Hashes, parent hashes and blooms are right (a hash covers all of a block, but is not the
keccak of an RLP header). `log_for` writes the log of a declared event.

Switches (`EDGE` sets those of Polygon Edge):

| switch | effect |
|---|---|
| max_range, range_text, range_code | eth_getLogs over more blocks is refused |
| max_results | eth_getLogs with more logs is refused, as by geth's hosts |
| max_batch | a longer batch is answered by one error object with id null |
| cut_at_head | logs past the head are silently left out (else: an error) |
| log_index_per_transaction | logIndex starts again in each transaction |
| finalized | height of the `finalized` block; None: the tag is an error |
| late_receipts | how often a receipt is null before it is there |
| checksum | addresses are written in mixed case, as Edge does |
| lags | one number per node behind the URL: how many blocks it is behind; the nodes |
|      | answer requests in turn, as behind a load balancer |
| wrong_chain_id | what eth_chainId says instead |
| latency | `latency()` gives the seconds by which each answer is late |
| faults | a `Faults`: seeded trouble for a share of the requests |
| alter | `alter(method, params, result)` returns the result to send: any lie |

Counters: `requests`, `calls` (by method), `refused` (range and batch refusals),
`faulted` (by kind), `most_at_once` (requests that waited for their answers).
`node.down = True` closes every connection unanswered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from db.declare import Event
from db.declare.evm.signatures import canonical_type, signature
from fakenode.chain import Log as FakeLog
from fakenode.chain import Tx as FakeTx

EDGE: dict[str, Any] = {
    "max_range": 1001,
    "max_batch": 20,
    "cut_at_head": True,
    "log_index_per_transaction": True,
    "finalized": None,
    "checksum": True,
}


@dataclass
class FakeBlock:
    number: int
    hash: bytes
    parent_hash: bytes
    time: int
    bloom: int
    transactions: list[tuple[bytes, FakeTx]]  # hash, transaction
    logs: list[tuple[int, int, int, FakeLog]]  # transaction, index in it, in block


def log_for(
    event: type[Event] | Mapping[str, Any], address: bytes, **values: Any
) -> FakeLog:
    """The log of an event; values by the names of the ABI's parameters."""
    abi = event if isinstance(event, Mapping) else event.spec.schema
    topics = [keccak(signature(abi).encode())]
    types, body = [], []
    for item in abi["inputs"]:
        kind, value = canonical_type(item), values[item["name"]]
        if not item["indexed"]:
            types.append(kind)
            body.append(value)
        elif kind in ("string", "bytes"):
            raw = value.encode() if isinstance(value, str) else value
            topics.append(keccak(raw))
        elif kind.endswith("]") or kind.startswith("("):
            topics.append(keccak(encode([kind], [value])))
        else:
            topics.append(encode([kind], [value]))
    return FakeLog(address, topics, encode(types, body))


class FakeEvmChain:
    """Blocks 0..head; block 0 is empty."""

    def __init__(
        self, chain_id: int = 31337, *, time: int = 1_700_000_000, block_time: int = 2
    ) -> None:
        self.chain_id = chain_id
        self.block_time = block_time
        self.blocks: list[FakeBlock] = []
        self._start = time
        self._salt = 0
        self.mine()

    @property
    def head(self) -> int:
        return len(self.blocks) - 1

    def mine(self, *items: FakeLog | FakeTx) -> FakeBlock:
        """Add a block. Logs given one after the other share a transaction."""
        transactions: list[FakeTx] = []
        loose: list[FakeLog] = []
        for item in items:
            if isinstance(item, FakeLog):
                loose.append(item)
                continue
            if loose:
                transactions.append(FakeTx(loose))
                loose = []
            transactions.append(item)
        if loose:
            transactions.append(FakeTx(loose))
        return self._append(transactions)

    def mine_many(self, count: int) -> None:
        """Add empty blocks."""
        for _ in range(count):
            self._append([])

    def reorg(self, depth: int, blocks: int | None = None) -> None:
        """Take away the last blocks and add as many empty ones (or `blocks`)."""
        del self.blocks[len(self.blocks) - depth :]
        self._salt += 1
        self.mine_many(depth if blocks is None else blocks)

    def rewrite(self, height: int, *items: FakeLog | FakeTx) -> None:
        """Replace a block and, empty, all that stood above it."""
        above = self.head - height
        self.reorg(above + 1, 0)
        self.mine(*items)
        self.mine_many(above)

    def truncate(self, head: int) -> list[FakeBlock]:
        """Take the blocks above `head` away; give them to `restore` later."""
        taken = self.blocks[head + 1 :]
        del self.blocks[head + 1 :]
        return taken

    def restore(self, blocks: list[FakeBlock]) -> None:
        """Put back what `truncate` took."""
        self.blocks += blocks

    def _append(self, transactions: list[FakeTx]) -> FakeBlock:
        number = len(self.blocks)
        parent = self.blocks[-1].hash if self.blocks else b"\0" * 32
        digest = hashlib.sha256(f"{self.chain_id}/{self._salt}/{number}".encode())
        digest.update(parent)
        signed, logs = [], []
        for at, tx in enumerate(transactions):
            own = hashlib.sha256(digest.digest() + f"{at}{tx!r}".encode()).digest()
            signed.append((own, tx))
            digest.update(own)
            for index, log in enumerate(tx.logs):
                logs.append((at, index, len(logs), log))
        block = FakeBlock(
            number, digest.digest(), parent, self._start + number * self.block_time,
            bloom_of([log for *_, log in logs]), signed, logs,
        )  # fmt: skip
        self.blocks.append(block)
        return block


def bloom_of(logs: Sequence[FakeLog]) -> int:
    """The bloom as the Yellow Paper says, bit by bit."""
    found = 0
    for item in {i for log in logs for i in (log.address, *log.topics)}:
        digest = keccak(item)
        for at in (0, 2, 4):
            found |= 1 << (int.from_bytes(digest[at : at + 2]) % 2048)
    return found


@dataclass
class Faults:
    """Trouble for `share` of the requests, by hash(seed, request, attempt).

    A request is never troubled more than `most` times, so that tests end.
    """

    seed: int
    share: float = 0.3
    most: int = 3
    kinds: Sequence[str] = ("429", "500", "html", "truncated", "drop", "empty_logs")
    _attempts: Counter[bytes] = field(default_factory=Counter)

    def next(self, body: bytes) -> str | None:
        key = hashlib.sha256(body).digest()
        attempt = self._attempts[key]
        self._attempts[key] += 1
        if attempt >= self.most:
            return None
        roll = hashlib.sha256(f"{self.seed}/{attempt}/".encode() + key).digest()
        if int.from_bytes(roll[:4]) / 2**32 >= self.share:
            return None
        return self.kinds[roll[4] % len(self.kinds)]


class RpcFault(Exception):
    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class FakeRpcServer:
    """The chain's node(s) at `url`, for the length of a `with` block."""

    def __init__(
        self,
        chain: FakeEvmChain,
        *,
        max_range: int | None = None,
        range_text: str = "block range too high",
        range_code: int = -32600,
        max_results: int | None = None,
        max_batch: int | None = None,
        cut_at_head: bool = True,
        log_index_per_transaction: bool = False,
        finalized: int | None = 0,
        late_receipts: int = 0,
        checksum: bool = False,
        lags: Sequence[int] = (0,),
        wrong_chain_id: int | None = None,
        faults: Faults | None = None,
        alter: Callable[[str, list[Any], Any], Any] | None = None,
        latency: Callable[[], float] | None = None,
    ) -> None:
        self.chain = chain
        self.max_range, self.range_text, self.range_code = (
            max_range, range_text, range_code,
        )  # fmt: skip
        self.max_results, self.max_batch = max_results, max_batch
        self.cut_at_head = cut_at_head
        self.log_index_per_transaction = log_index_per_transaction
        self.finalized, self.late_receipts = finalized, late_receipts
        self.checksum, self.lags, self.wrong_chain_id = checksum, lags, wrong_chain_id
        self.faults, self.alter, self.latency = faults, alter, latency
        self.down = False
        self.hang_seconds = 0.5  # of the fault "hang"; give the client less
        self.retry_after: str | None = None
        self.requests = 0
        self.most_at_once = self._at_once = 0
        self.calls: Counter[str] = Counter()
        self.refused = 0
        self.faulted: Counter[str] = Counter()
        self.bodies: list[Any] = []  # every request, decoded
        self.url = ""
        self._receipts_asked: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> FakeRpcServer:
        self._thread.start()
        future = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        self.url = future.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> str:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests += 1
        if self.latency is not None:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            await asyncio.sleep(self.latency())
            self._at_once -= 1
        fault = "drop" if self.down else self.faults and self.faults.next(body)
        if fault:
            self.faulted[fault] += 1
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "429":
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.Response(status=429, text="slow down", headers=headers)
        if fault == "hang":
            await asyncio.sleep(self.hang_seconds)
        if fault == "500":
            return web.Response(status=500, text="oh no")
        if fault == "html":
            return web.Response(text="<html>not me</html>", content_type="text/html")
        answer = json.dumps(self._answer(json.loads(body), fault)).encode()
        if fault == "truncated":
            answer = answer[: len(answer) // 2]
        return web.Response(body=answer, content_type="application/json")

    def _answer(self, message: Any, fault: str | None) -> Any:
        self.bodies.append(message)
        # One node answers a whole request, as a connection goes to one of them.
        head = self.chain.head - self.lags[(self.requests - 1) % len(self.lags)]
        if not isinstance(message, list):
            return self._one(message, head, fault)
        if self.max_batch is not None and len(message) > self.max_batch:
            self.refused += 1
            error = {"code": -32600, "message": "Batch request length too long"}
            return {"jsonrpc": "2.0", "id": None, "error": error}
        return [self._one(call, head, fault) for call in message]

    def _one(self, call: dict[str, Any], head: int, fault: str | None) -> Any:
        method, params = call["method"], call.get("params", [])
        self.calls[method] += 1
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            handler = getattr(self, method, None)
            if handler is None or not method.startswith(("eth_", "web3_", "net_")):
                raise RpcFault(-32601, f"the method {method} does not exist")
            result = handler(head, *params)
            if fault == "empty_logs" and method == "eth_getLogs":
                result = []
            if self.alter is not None:
                result = self.alter(method, params, result)
            reply["result"] = result
        except RpcFault as error:
            reply["error"] = {"code": error.code, "message": error.message}
            if error.data is not None:
                reply["error"]["data"] = error.data
        return reply

    def eth_chainId(self, head: int) -> str:
        return hex(self.wrong_chain_id or self.chain.chain_id)

    def eth_getCode(self, head: int, address: str, block: str) -> str:
        return "0x60"

    def eth_blockNumber(self, head: int) -> str:
        return hex(head)

    def eth_getBlockByNumber(self, head: int, number: str, full: bool) -> Any:
        if number == "finalized":
            if self.finalized is None:
                raise RpcFault(-32602, "invalid argument 0: unknown tag finalized")
            number = hex(self.finalized)
        at = {"latest": head, "earliest": 0}.get(number)
        at = int(number, 16) if at is None else at
        return self._block(self.chain.blocks[at], full) if 0 <= at <= head else None

    def eth_getBlockByHash(self, head: int, wanted: str, full: bool) -> Any:
        for block in self.chain.blocks[: head + 1]:
            if _x(block.hash) == wanted.lower():
                return self._block(block, full)
        return None

    def eth_getLogs(self, head: int, query: dict[str, Any]) -> Any:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if self.max_range is not None and last - first + 1 > self.max_range:
            self.refused += 1
            raise RpcFault(self.range_code, self.range_text)
        if last > head and not self.cut_at_head:
            raise RpcFault(-32000, "block out of range")
        found = [
            self._log(block, *entry)
            for block in self.chain.blocks[first : min(last, head) + 1]
            for entry in block.logs
            if _matches(entry[3], query)
        ]
        if self.max_results is not None and len(found) > self.max_results:
            self.refused += 1
            raise RpcFault(
                -32005, f"query returned more than {self.max_results} results"
            )
        return found

    def eth_getTransactionReceipt(self, head: int, wanted: str) -> Any:
        self._receipts_asked[wanted] += 1
        if self._receipts_asked[wanted] <= self.late_receipts:
            return None
        for block in self.chain.blocks[: head + 1]:
            for at, (own, tx) in enumerate(block.transactions):
                if _x(own) == wanted.lower():
                    return {
                        "transactionHash": _x(own), "transactionIndex": hex(at),
                        "blockHash": _x(block.hash), "blockNumber": hex(block.number),
                        "gasUsed": hex(21_000), "status": hex(tx.reverted is None),
                        "logs": [
                            self._log(block, *e) for e in block.logs if e[0] == at
                        ],
                    }  # fmt: skip
        return None

    def eth_call(self, head: int, call: dict[str, Any], block: str) -> str:
        for _, tx in (t for b in self.chain.blocks for t in b.transactions):
            if tx.reverted is not None and _x(tx.data) == call["data"]:
                raise RpcFault(3, "execution reverted", _x(tx.reverted))
        return "0x"

    def _block(self, block: FakeBlock, full: bool) -> dict[str, Any]:
        return {
            "number": hex(block.number), "hash": _x(block.hash),
            "parentHash": _x(block.parent_hash), "timestamp": hex(block.time),
            "logsBloom": f"0x{block.bloom:0512x}", "gasLimit": "0x1c9c380",
            "transactions": [
                self._transaction(block, at) if full else _x(own)
                for at, (own, _) in enumerate(block.transactions)
            ],
        }  # fmt: skip

    def _transaction(self, block: FakeBlock, at: int) -> dict[str, Any]:
        own, tx = block.transactions[at]
        return {
            "hash": _x(own), "from": self._a(tx.sender), "nonce": hex(tx.nonce),
            "to": None if tx.recipient is None else self._a(tx.recipient),
            "value": hex(tx.value), "input": _x(tx.data), "gas": "0x5208",
            "blockHash": _x(block.hash), "blockNumber": hex(block.number),
            "transactionIndex": hex(at),
        }  # fmt: skip

    def _log(
        self, block: FakeBlock, at: int, in_tx: int, in_block: int, log: FakeLog
    ) -> dict[str, Any]:
        index = in_tx if self.log_index_per_transaction else in_block
        return {
            "address": self._a(log.address), "topics": [_x(t) for t in log.topics],
            "data": _x(log.data), "blockNumber": hex(block.number),
            "blockHash": _x(block.hash), "transactionIndex": hex(at),
            "transactionHash": _x(block.transactions[at][0]),
            "logIndex": hex(index), "removed": False,
        }  # fmt: skip

    def _a(self, address: bytes) -> str:
        return to_checksum_address(address) if self.checksum else _x(address)


def _matches(log: FakeLog, query: dict[str, Any]) -> bool:
    addresses = query.get("address")
    if isinstance(addresses, str):
        addresses = [addresses]
    if addresses is not None and _x(log.address) not in map(str.lower, addresses):
        return False
    for at, wanted in enumerate(query.get("topics") or []):
        if wanted is None:
            continue
        options = [wanted] if isinstance(wanted, str) else wanted
        if at >= len(log.topics) or _x(log.topics[at]) not in options:
            return False
    return True


def _x(value: bytes) -> str:
    return "0x" + value.hex()
