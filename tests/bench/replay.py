"""An endpoint that serves a recorded chain as fast as Python can, by joining bytes.

python replay.py RECORDING PORT_FILE [LATENCY_SECONDS [BLOCKS_PER_SECOND]]

With a latency each answer leaves so long after its request came, and the first of a
connection twice as long, as the connection itself takes a round trip. With blocks in a
second the chain begins with its first block, when it is first asked, and grows.
"""

import asyncio
import gzip
import json
import sys
import time
from pathlib import Path

CHAIN_ID = 31337


class Chain:
    """The recording in memory, as bytes."""

    def __init__(self, path: str, rate: float = 0.0) -> None:
        self.rate, self.begun = rate, 0.0
        self.headers: list[bytes] = []
        self.logs: list[bytes] = []
        with gzip.open(path, "rb") as file:
            while header := file.readline():
                self.headers.append(header.rstrip(b"\n"))
                self.logs.append(file.readline().rstrip(b"\n"))
        self.by_address: dict[tuple[str, str], list[tuple[int, bytes]]] = {}

    def head(self) -> int:
        """The highest block there is by now."""
        last = len(self.headers) - 1
        if not self.rate:
            return last
        self.begun = self.begun or time.monotonic()
        return min(last, int((time.monotonic() - self.begun) * self.rate))

    def answer(self, call: dict) -> bytes:
        """The `result` of one call."""
        method, params = call["method"], call.get("params", [])
        if method == "eth_chainId":
            return f'"{hex(CHAIN_ID)}"'.encode()
        if method == "eth_blockNumber":
            return f'"{hex(self.head())}"'.encode()
        if method == "eth_getBlockByNumber":
            tag, head = params[0], self.head()
            height = head if tag == "latest" else int(tag, 16)
            return self.headers[height] if height <= head else b"null"
        if method == "eth_getLogs":
            return self.get_logs(params[0])
        raise SystemExit(f"the replay does not know {method}")

    def get_logs(self, query: dict) -> bytes:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if query.get("address") or query.get("topics"):
            return self.filtered(query, first, last)
        blocks = [logs for logs in self.logs[first : last + 1] if logs]
        return b"[" + b",".join(blocks) + b"]"

    def filtered(self, query: dict, first: int, last: int) -> bytes:
        """By address and topic0; slow, and used for the discovery of children only."""
        addresses = query.get("address") or []
        addresses = [addresses] if isinstance(addresses, str) else addresses
        topics = (query.get("topics") or [None])[0] or []
        topics = [topics] if isinstance(topics, str) else topics
        found = []
        for logs in self.logs[first : last + 1]:
            for needle in topics or addresses:
                if needle.encode() in logs:
                    break
            else:
                continue
            for log in json.loads(b"[" + logs + b"]"):
                if addresses and log["address"] not in addresses:
                    continue
                if topics and log["topics"][0] not in topics:
                    continue
                found.append(json.dumps(log).encode())
        return b"[" + b",".join(found) + b"]"


class Server(asyncio.Protocol):
    """Just enough HTTP: one request after the other, with Content-Length."""

    def __init__(self, chain: Chain, latency: float) -> None:
        self.chain, self.buffer, self.latency = chain, b"", latency

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.wait = 2 * self.latency

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.index(b"content-length:") + 15
            size = int(head[at:].split(b"\r\n", 1)[0])
            if len(self.buffer) < end + 4 + size:
                return
            body = self.buffer[end + 4 : end + 4 + size]
            self.buffer = self.buffer[end + 4 + size :]
            self.reply(json.loads(body))

    def reply(self, message) -> None:
        if isinstance(message, list):
            parts = [self.one(call) for call in message]
            body = b"[" + b",".join(parts) + b"]"
        else:
            body = self.one(message)
        answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            + str(len(body)).encode()
            + b"\r\n\r\n"
            + body
        )
        if not self.latency:
            self.transport.write(answer)
            return
        asyncio.get_running_loop().call_later(self.wait, self.transport.write, answer)
        self.wait = self.latency

    def one(self, call: dict) -> bytes:
        ident = json.dumps(call["id"]).encode()
        result = self.chain.answer(call)
        return b'{"jsonrpc":"2.0","id":' + ident + b',"result":' + result + b"}"


async def main(path: str, port_file: str, latency: str = "0", rate: str = "0") -> None:
    chain = Chain(path, float(rate))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Server(chain, float(latency)), "127.0.0.1", 0
    )
    Path(port_file).write_text(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
