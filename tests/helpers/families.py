"""Declared events of a token, a factory and its families, and a source that reads them.

with FakeRpcServer(chain) as node:
    batch = fetch(node.url, 0, 7)
    assert places(batch, "Transfer") == [(1, 0)]   # (block, ordinal)
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from db.declare import Address, Contract, Event, Field, FieldKind, Text, Uint
from db.position import BlockRange
from helpers.rpc import FakeEvmChain, FakeLog, FakeTx, log_for
from indexer.evm.client import RpcClient
from indexer.evm.source import EvmSource, FollowedContract, Ibft
from indexer.source import Batch

CHAIN = "eip155:31337"


def event(name: str, *inputs: tuple[str, str, bool]) -> dict[str, Any]:
    return {
        "type": "event",
        "name": name,
        "anonymous": False,
        "inputs": [{"type": t, "name": n, "indexed": i} for t, n, i in inputs],
    }


TRANSFER = event(
    "Transfer", ("address", "from", True), ("address", "to", True),
    ("uint256", "value", False),
)  # fmt: skip
TRANSFER_NFT = event(
    "Transfer", ("address", "from", True), ("address", "to", True),
    ("uint256", "tokenId", True),
)  # fmt: skip
token = Contract("Token", abi=[TRANSFER, event("Paused")])
nft = Contract("Nft", abi=[TRANSFER_NFT])
factory = Contract(
    "Factory",
    abi=[event("Made", ("address", "child", True), ("string", "title", False))],
)


class Transfer(Event):
    source = token
    token = Address(emitter=True)
    sender = Address(param="from")
    to = Address()
    value = Uint()


class NftTransfer(Event):
    source = nft
    name = "Transfer"
    token_id = Uint()


class Made(Event):
    source = factory
    child = Address()
    title = Text()


# A child is itself a factory, so families nest.
child = Contract(
    "Child",
    abi=[
        event("Noted", ("uint256", "amount", False)),
        event("Born", ("address", "grandchild", False)),
    ],
    created_by=Made.child,
)


class Noted(Event):
    source = child
    child = Address(emitter=True)
    amount = Uint()


class Born(Event):
    source = child
    grandchild = Address()


grandchild = Contract(
    "Grandchild",
    abi=[event("Spoke", ("uint256", "word", False))],
    created_by=Born.grandchild,
)


class Spoke(Event):
    source = grandchild
    grandchild = Address(emitter=True)
    word = Uint()


EVENTS = (Transfer, NftTransfer, Made, Noted, Born, Spoke)
IDS = [declared.spec.id for declared in EVENTS]
TOKEN, NFT, FACTORY, STRANGER = (bytes([n]) * 20 for n in (0xAA, 0xAB, 0xAC, 0xAD))


def address(number: int) -> bytes:
    return (0xC0FFEE << 64 | number).to_bytes(20)


def contracts(children: dict[bytes, int] | None = None) -> list[FollowedContract]:
    return [
        FollowedContract(token, {TOKEN: 0}, [Transfer]),
        FollowedContract(nft, {NFT: 0}, [NftTransfer]),
        FollowedContract(factory, {FACTORY: 0}, [Made]),
        FollowedContract(child, children or {}, [Noted, Born]),
        FollowedContract(grandchild, {}, [Spoke]),
    ]


def transfer(value: int, at: bytes = TOKEN) -> FakeLog:
    people = {"from": b"\x01" * 20, "to": b"\x02" * 20}
    return log_for(Transfer, at, value=value, **people)


def made(at: bytes, title: str = "t") -> FakeLog:
    return log_for(Made, FACTORY, child=at, title=title)


def noted(at: bytes, amount: int) -> FakeLog:
    return log_for(Noted, at, amount=amount)


def born(parent: bytes, at: bytes) -> FakeLog:
    return log_for(Born, parent, grandchild=at)


def spoke(at: bytes, word: int) -> FakeLog:
    return log_for(Spoke, at, word=word)


def busy_chain(blocks: int, seed: int = 7) -> FakeEvmChain:
    """A chain with everything: strangers, families, empty blocks, big and small."""
    rolls = random.Random(seed)
    chain = FakeEvmChain()
    kids: list[bytes] = []
    grandkids: list[bytes] = []
    for number in range(blocks):
        txs = []
        for _ in range(rolls.choice([0, 0, 1, 2, 3])):
            logs = []
            for _ in range(rolls.randint(1, 4)):
                roll = rolls.random()
                fresh = address(rolls.getrandbits(60))
                if roll < 0.1:
                    kids.append(fresh)
                    logs += [noted(fresh, number), made(fresh)]
                elif roll < 0.2 and kids:
                    grandkids.append(fresh)
                    logs += [spoke(fresh, number), born(rolls.choice(kids), fresh)]
                elif roll < 0.4 and kids:
                    logs.append(noted(rolls.choice(kids), number))
                elif roll < 0.5 and grandkids:
                    logs.append(spoke(rolls.choice(grandkids), number))
                elif roll < 0.6:
                    logs += [
                        noted(STRANGER, 1),
                        transfer(2, STRANGER),
                        FakeLog(TOKEN, []),
                    ]
                else:
                    logs.append(transfer(rolls.getrandbits(256)))
            txs.append(FakeTx(logs))
        chain.mine(*txs)
    return chain


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)
        await asyncio.sleep(0)


def source_for(*urls: str, **options: Any) -> EvmSource:
    time = Time()
    client_options = {
        name: options.pop(name)
        for name in ("limits_store", "attempts", "request_timeout_seconds")
        if name in options
    }
    client = RpcClient(
        urls, 31337, clock=time.clock, sleep=time.sleep, random=random.Random(1).random,
        **client_options,
    )  # fmt: skip
    options.setdefault("contracts", contracts())
    options.setdefault("finality", Ibft())
    followed = options.pop("contracts")
    finality = options.pop("finality")
    return EvmSource("test", CHAIN, client, followed, finality, **options)


def run(source: EvmSource, work: Callable[[EvmSource], Any]) -> Any:
    async def whole() -> Any:
        try:
            return await work(source)
        finally:
            await source.close()

    return asyncio.run(whole())


def fetch(url: str | Sequence[str], first: int, last: int, **options: Any) -> Batch:
    urls = [url] if isinstance(url, str) else url
    ids = options.pop("ids", IDS)
    return run(
        source_for(*urls, **options), lambda s: s.fetch(BlockRange(first, last), ids)
    )


def facts(*batches: Batch) -> dict[str, list[tuple]]:
    """Every fact as (position, time, transaction, values…), by event, in order."""
    found: dict[str, list[tuple]] = {}
    for batch in batches:
        for columns in batch.facts:
            assert (np.diff(columns.positions) > 0).all()
            rows = found.setdefault(columns.event.spec.name, [])
            for at in range(len(columns)):
                values = [
                    plain(columns.event.spec.fields[name], bytes(column[at]))
                    for name, column in columns.values.items()
                ]
                rows.append(
                    (
                        int(columns.positions[at]),
                        int(columns.block_times[at]),
                        bytes(columns.transactions[at]),
                        *values,
                    )
                )
    return {name: sorted(rows) for name, rows in sorted(found.items())}


def plain(field: Field, raw: bytes) -> Any:
    """Numbers as numbers: batches pad them differently. The rest as it is."""
    if field.kind is not FieldKind.NUMERIC:
        return raw
    count, weight = struct.unpack(">hh", raw[:4])
    digits = struct.unpack(f">{count}h", raw[8:])
    return sum(d * 10_000 ** (weight - at) for at, d in enumerate(digits))


def places(batch: Batch, name: str) -> list[tuple[int, int]]:
    """(block, ordinal) of the facts of an event."""
    rows = facts(batch).get(name, [])
    return [(row[0] >> 32, row[0] & 0xFFFFFFFF) for row in rows]
