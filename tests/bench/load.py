"""Ask one thing over and over: load.py PORT CONNECTIONS SECONDS REQUEST_FILE STATUS.

A process of its own, without a library of HTTP, so that it takes little of the
processor that it shares. Every connection asks again when it is answered. Prints how
many were answered, and the milliseconds that half of them and 99 of 100 took at most.
"""

import asyncio
import json
import sys
import time


class Asking(asyncio.Protocol):
    """One connection: it asks, reads the whole answer, and asks again."""

    def __init__(self, request, status, took, until):
        self.request, self.took, self.until = request, took, until
        self.begins = f"HTTP/1.1 {status} ".encode()
        self.done = asyncio.get_running_loop().create_future()
        self.held = b""

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        self.held = b""
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data):
        self.held += data
        head, found, body = self.held.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(self.begins):
            self.done.set_exception(AssertionError(self.held[:400]))
            self.transport.close()
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if length and len(body) < int(length.split(b"\r", 1)[0]):
            return
        now = time.perf_counter()
        self.took.append(now - self.asked)
        if now < self.until:
            self.ask()
        else:
            self.done.set_result(None)
            self.transport.close()

    def connection_lost(self, error):
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("hung up"))


async def main(port, connections, seconds, request, status):
    took, until = [], time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    asking = [
        (await loop.create_connection(
            lambda: Asking(request, status, took, until), "127.0.0.1", port
        ))[1]
        for _ in range(connections)
    ]  # fmt: skip
    await asyncio.gather(*(each.done for each in asking))
    took.sort()
    print(json.dumps({
        "rate": len(took) / seconds,
        "half_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[len(took) * 99 // 100] * 1000,
    }))  # fmt: skip


if __name__ == "__main__":
    port, connections, seconds, file, status = sys.argv[1:]
    with open(file, "rb") as content:
        given = content.read()
    asyncio.run(main(int(port), int(connections), float(seconds), given, status))
