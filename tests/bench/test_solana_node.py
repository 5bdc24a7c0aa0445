"""The speed of the Solana node, and what the program `ledger` costs."""

import base64
import os
import time

import pytest
from solders.pubkey import Pubkey

from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry
from devnet.solana.run import NodeOptions, SolanaNode

CONFIRMED = {"commitment": "confirmed", "maxSupportedTransactionVersion": 1}
COUNT, BATCH = 2_000, 20


@pytest.mark.bench
def test_speed_of_the_node(capsys):
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        chain = Devnet(node.url)
        chain.fund(lamports=10**12)
        key, recent = chain.payer.pubkey(), chain.blockhash()
        whom = [Pubkey.new_unique() for _ in range(3)]
        signed = [
            chain.sign(
                [ledger.record(key, os.urandom(32), Entry((1, 2, 3)), whom)],
                blockhash=recent,
            )
            for _ in range(2 * COUNT)
        ]
        rates = {}
        for name, config in (
            ("sent, with preflight", {"preflightCommitment": "confirmed"}),
            ("sent, without", {"skipPreflight": True}),
        ):
            part, signed = signed[:COUNT], signed[COUNT:]
            began = time.perf_counter()
            names = [chain.post(one, **config) for one in part]
            rates[name] = COUNT / (time.perf_counter() - began)
        chain.advance()
        began = time.perf_counter()
        for name in names:
            assert chain.call("getTransaction", name, CONFIRMED)
        rates["read, one by one"] = COUNT / (time.perf_counter() - began)
        began = time.perf_counter()
        chain.rpc.batch([("getTransaction", [name, CONFIRMED]) for name in names])
        rates[f"read, in batches of {BATCH}"] = COUNT / (time.perf_counter() - began)
        began = time.perf_counter()
        page = chain.call("getSignaturesForAddress", str(key), CONFIRMED)
        took = time.perf_counter() - began
    with capsys.disabled():
        print("\none Solana node, one connection, `record` with 3 recipients")
        for name, rate in rates.items():
            print(f"  {name:28} {rate:8,.0f} a second")
        print(f"  a page of {len(page)} signatures   {took * 1000:8.1f} ms")


@pytest.mark.bench
def test_what_calls_of_ledger_cost(capsys):
    rows = []
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        chain = Devnet(node.url)
        chain.fund(lamports=10**12)
        for count in (1, 2, 3, 6, 9, 12):
            entry = Entry(tuple(range(1, count + 1)), note="rent", limit=9)
            whom = [Pubkey.new_unique() for _ in range(count)]
            row = []
            for call in (ledger.emit, ledger.emit_by_call, ledger.record):
                made = call(chain.payer.pubkey(), bytes([count] * 32), entry, whom)
                found = chain.transaction(chain.send(made), encoding="base64")
                units = found["meta"]["computeUnitsConsumed"]
                row.append((units, len(base64.b64decode(found["transaction"][0]))))
            rows.append((count, row))
    with capsys.disabled():
        print("\ncompute units and bytes of `ledger`")
        print(f"  {'accounts':>8} {'emit':>14} {'emit_by_call':>14} {'record':>14}")
        for count, row in rows:
            cells = " ".join(f"{units:>8}{size:>6}" for units, size in row)
            print(f"  {count:>8} {cells}")
