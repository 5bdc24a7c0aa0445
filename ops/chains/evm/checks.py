"""Checks of EVM chains for `doctor`: heads, final blocks, code at addresses."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Engine

from db import sources
from db.engine import Refused
from db.fit import examine as fit_of
from db.reads.facts import spoke
from db.registry import Registry
from indexer.evm.blocks import read_block
from indexer.evm.client import RpcClient
from indexer.evm.finality import Tag, final_height
from indexer.evm.messages import RpcHeader, quantity
from indexer.evm.source import LATEST
from indexer.rpc.answers import RpcCall
from ops.chains.evm.client import evm_client
from ops.errors import OperationError
from ops.settings import ChainSettings, Finality, Settings

T = TypeVar("T")

ATTEMPTS = 3  # somebody waits for the answer
YOUNG_BLOCKS = 1000  # a chain that is no longer may have no final block yet

Addresses = Mapping[str, Mapping[bytes, int]]


def _ask(client: RpcClient, work: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        try:
            return await work()
        finally:
            await client.close()

    return asyncio.run(whole())


def head_of(settings: Settings, chain: ChainSettings) -> int:
    """The height of the head of a chain's one endpoint."""
    client = evm_client(settings, chain, None, ATTEMPTS)

    async def work() -> RpcHeader:
        head: RpcHeader = await client.call(LATEST)
        return head

    return quantity(_ask(client, work).number)


def endpoint_checks(
    settings: Settings, chain: ChainSettings, head: int
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks of a chain's one endpoint, beside its head."""
    if chain.finality is Finality.TAG:
        client = evm_client(settings, chain, None, ATTEMPTS)
        yield "finality", partial(final_block, client, head)


def address_checks(
    settings: Settings,
    chain: ChainSettings,
    addresses: Addresses,
    engine: Engine | None,
    registry: Registry,
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks of the addresses that are followed, at one endpoint."""
    client = evm_client(settings, chain, None, ATTEMPTS)
    yield "code", partial(code_at, client, chain.name, addresses, engine, registry)


def final_block(client: RpcClient, head: int) -> str:
    """Check that a node reports a final block; raises with the remedy."""

    async def work() -> int:
        latest = read_block(await client.call(LATEST)).header
        return await final_height(client, Tag(), latest)

    final = _ask(client, work)
    if final >= 0:
        return f"block {final} is final"
    if head < YOUNG_BLOCKS:
        return "no block is final yet"
    raise OperationError(
        f"its head is {head} and it calls no block final, so nothing that needs final "
        'blocks goes on: set finality = "depth" with finality_depth for this chain'
    )


def code_at(
    client: RpcClient,
    chain: str,
    addresses: Addresses,
    engine: Engine | None,
    registry: Registry,
) -> str:
    """Every configured address has code, or had: a wrong one is followed in vain."""
    empty = _without_code(client, addresses)
    gone = []
    if engine is not None and empty:
        gone = _had_code(engine, chain, registry, addresses, empty)
    wrong = [each for each in empty if each not in gone]
    if wrong:
        raise OperationError(
            f"no code at {_listed(wrong)}: nothing will ever be read from there. "
            "Correct the address, or the endpoint's chain."
        )
    found = f"code at {sum(map(len, addresses.values())) - len(gone)} addresses"
    if gone:
        found += (
            f"; none any more at {_listed(gone)}, of which there are facts: the "
            "contract destroyed itself, and its facts stay"
        )
    return found


def _without_code(client: RpcClient, addresses: Addresses) -> list[tuple[str, bytes]]:
    named = [(name, address) for name, at in addresses.items() for address in at]
    calls = [
        RpcCall("eth_getCode", ("0x" + address.hex(), "latest"), str)
        for _, address in named
    ]

    async def work() -> Sequence[Any]:
        return (await client.batch(calls)).results

    codes = _ask(client, work)
    return [
        each for each, code in zip(named, codes, strict=True) if code in ("0x", "0x0")
    ]


def _had_code(
    engine: Engine,
    chain: str,
    registry: Registry,
    addresses: Addresses,
    empty: Sequence[tuple[str, bytes]],
) -> list[tuple[str, bytes]]:
    """Return the contracts that have emitted a stored fact."""
    try:
        with engine.connect() as connection:
            if fit_of(connection, registry).message:
                return []
            row = sources.find(connection, chain)
            return [
                (name, at)
                for name, at in empty
                if row is not None
                and spoke(
                    connection, row.id, registry.events_of(name), at,
                    alone=len(addresses[name]) == 1,
                )
            ]  # fmt: skip
    except Refused:
        return []  # the finding about the database says it


def _listed(found: Sequence[tuple[str, bytes]]) -> str:
    return ", ".join(f"{name} 0x{address.hex()}" for name, address in found)
