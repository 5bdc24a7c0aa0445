"""Starts the node: ``python <this folder> --port 8899``; it runs until a signal.

One line of JSON on the standard output says where it listens, when it does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from solders.pubkey import Pubkey

from .call import Options
from .node import Node, Settings
from .server import run

FINALIZED_AFTER_MAX = 400
"""Within the blocks whose accounts the chain remembers as they were."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A Solana node over LiteSVM")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8899)
    parser.add_argument("--ws-port", type=int, help="default: one above --port")
    parser.add_argument("--slot-ms", type=int, default=400, help="0: only when told")
    parser.add_argument("--skip-share", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--confirmed-after", type=int, default=1)
    parser.add_argument("--finalized-after", type=int, default=32)
    parser.add_argument("--no-transaction-index", action="store_true")
    parser.add_argument("--forgiving-cursors", action="store_true")
    parser.add_argument("--program", action="append", default=[], help="ADDRESS=FILE")
    asked = parser.parse_args()
    if not 0 < asked.confirmed_after <= asked.finalized_after <= FINALIZED_AFTER_MAX:
        parser.error(
            "--confirmed-after must be at least 1, and --finalized-after no less, at "
            f"most {FINALIZED_AFTER_MAX}"
        )
    return asked


async def serve(asked: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    node = Node(
        Settings(
            slot_ms=asked.slot_ms or None,
            skip_share=asked.skip_share,
            seed=asked.seed,
            confirmed_after=asked.confirmed_after,
            finalized_after=asked.finalized_after,
            options=Options(
                transaction_index=not asked.no_transaction_index,
                unknown_cursor_fails=not asked.forgiving_cursors,
            ),
        )
    )
    for given in asked.program:
        address, _, path = given.partition("=")
        node.add_program(Pubkey.from_string(address), Path(path).read_bytes())
    node.chain.advance()  # a program can be called in the slot after its own
    ws_port = asked.ws_port or asked.port + 1
    ready = asyncio.Event()
    ports = sorted({asked.port, ws_port})
    serving = asyncio.create_task(run(node, asked.host, ports, ready))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if ready.is_set():
        where = {
            "rpc": f"http://{asked.host}:{asked.port}",
            "ws": f"ws://{asked.host}:{ws_port}",
        }
        sys.stdout.write(json.dumps(where) + "\n")
        sys.stdout.flush()
    try:
        await serving
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    try:
        asyncio.run(serve(arguments()))
    except OSError as error:
        sys.exit(f"cannot serve: {error}")
