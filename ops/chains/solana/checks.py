"""Checks of Solana clusters for `doctor`: heads, and programs at addresses."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Engine

from db.registry import Registry
from idl.base58 import to_base58
from indexer.rpc.answers import Call
from indexer.solana.client import CONFIRMED
from ops.chains.solana.client import solana_client
from ops.errors import OperationError
from ops.settings import ChainSettings, Settings

ATTEMPTS = 3  # somebody waits for the answer
ACCOUNTS_MAX = 100  # that a node tells at once


class _Account(msgspec.Struct):
    executable: bool


class _Accounts(msgspec.Struct):
    value: list[_Account | None]


def head_of(settings: Settings, chain: ChainSettings) -> int:
    """The confirmed slot of a cluster's one endpoint."""
    [slot] = _ask(settings, chain, [CONFIRMED])
    return int(slot)


def endpoint_checks(
    settings: Settings, chain: ChainSettings, head: int
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield nothing: an endpoint's head is all that is looked at."""
    yield from ()


def address_checks(
    settings: Settings,
    chain: ChainSettings,
    addresses: Mapping[str, Mapping[bytes, int]],
    engine: Engine | None,
    registry: Registry,
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the check of the programs that are followed, at one endpoint."""
    yield "programs", partial(_programs, settings, chain, addresses)


def _programs(
    settings: Settings,
    chain: ChainSettings,
    addresses: Mapping[str, Mapping[bytes, int]],
) -> str:
    """Every configured address is a program: another is followed in vain."""
    named = [(name, to_base58(key)) for name, at in addresses.items() for key in at]
    calls = [
        Call(
            "getMultipleAccounts",
            (
                [text for _, text in named[at : at + ACCOUNTS_MAX]],
                {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0}},
            ),
            _Accounts,
        )
        for at in range(0, len(named), ACCOUNTS_MAX)
    ]
    answers = _ask(settings, chain, calls) if calls else []
    accounts = [each for answer in answers for each in answer.value]
    wrong = [
        f"{name} {text}"
        for (name, text), account in zip(named, accounts, strict=True)
        if account is None or not account.executable
    ]
    if wrong:
        raise OperationError(
            f"no program at {', '.join(wrong)}: nothing that it does will ever be read "
            "from there. Correct the address, or the endpoint's cluster."
        )
    return f"programs at {len(named)} addresses"


# Any: each call says of which type its answer is.
def _ask(
    settings: Settings, chain: ChainSettings, calls: Sequence[Call]
) -> Sequence[Any]:
    client = solana_client(settings, chain, None, ATTEMPTS)

    async def whole() -> Sequence[Any]:
        try:
            return (await client.batch(calls)).results
        finally:
            await client.close()

    return asyncio.run(whole())
