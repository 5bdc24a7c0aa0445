"""A Solana endpoint that serves a history of `solana_recording`, by joining slices.

python solana_replay.py FOLDER PORT_FILE [LATENCY_SECONDS]

Nothing is parsed or encoded but the questions: the files are mapped, and an answer is
slices of them. `bench_served` tells how many transactions were served.
"""

import asyncio
import hashlib
import json
import mmap
import sys
from pathlib import Path

import numpy as np
from based58 import b58encode

from bench.replay import Server
from bench.solana_recording import FIRST_SLOT, time_of

GENESIS = b58encode(hashlib.sha256(b"genesis of a replayed history").digest()).decode()
ABOVE = 100  # slots above the last transaction, so that it is final
LINE_MAX = 1_000


class History:
    """The files of a history, as what a node answers."""

    def __init__(self, folder: Path) -> None:
        index = np.load(folder / "index.npy")
        self.slots, self.ends, self.line_ends = index.T.tolist()
        self.file = _mapped(folder / "transactions")
        self.lines = _mapped(folder / "lines")
        self.last = self.slots[-1] + ABOVE
        self.served = 0
        # Lines are newest first, transactions oldest first.
        begins = [0, *self.line_ends[:-1]]
        texts = [self.lines[at + 14 : at + 104].split(b'"', 1)[0] for at in begins]
        self.row = {text.decode(): at for at, text in enumerate(texts)}

    def answer(self, call: dict) -> bytes:
        """The `result` of one call."""
        method, params = call["method"], call.get("params", [])
        if method == "getTransaction":
            self.served += 1
            at = len(self.ends) - 1 - self.row[params[0]]
            return self.file[self.ends[at - 1] if at else 0 : self.ends[at]]
        if method == "getSignaturesForAddress":
            return self._page(**params[1])
        if method == "getBlock":
            return self._block(params[0])
        if method == "getBlocks":
            return json.dumps(list(range(params[0], params[1] + 1))).encode()
        if method == "getSlot":
            return str(self.last).encode()
        if method == "getGenesisHash":
            return f'"{GENESIS}"'.encode()
        if method == "getFirstAvailableBlock":
            return b"0"
        if method == "bench_served":
            return str(self.served).encode()
        raise SystemExit(f"the replay does not know {method}")

    def _page(self, limit: int, before: str = "", **_: object) -> bytes:
        first = self.row[before] + 1 if before else 0
        end = min(first + min(limit, LINE_MAX), len(self.line_ends))
        if first >= end:
            return b"[]"
        begin = self.line_ends[first - 1] if first else 0
        return b"[" + self.lines[begin : self.line_ends[end - 1] - 1] + b"]"

    def _block(self, slot: int) -> bytes:
        block = {
            "blockhash": _hash(slot), "previousBlockhash": _hash(slot - 1),
            "parentSlot": slot - 1, "blockTime": time_of(slot), "blockHeight": slot,
        }  # fmt: skip
        return json.dumps(block).encode() if slot >= FIRST_SLOT else b"null"


def _hash(slot: int) -> str:
    return b58encode(hashlib.sha256(b"block %d" % slot).digest()).decode()


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


async def main(folder: str, port_file: str, latency: str = "0") -> None:
    history, loop = History(Path(folder)), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Server(history, float(latency)), "127.0.0.1", 0
    )
    Path(port_file).write_text(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
