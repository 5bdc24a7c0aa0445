"""Checks of Solana clusters for `doctor`: heads, and programs at addresses."""

import asyncio
import base64
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Engine

from commands.errors import SigningRefused
from db import sources
from db.declare.solana.accounts import TOKEN, TOKEN_2022, Named
from db.declare.solana.call import SolanaCallSpec
from db.declare.solana.fees import FEES
from db.declare.solana.tokens import TOKENS
from db.fit import examine as fit_of
from db.position import BlockRange
from db.registry import Registry
from db.solana import listing
from idl.base58 import to_base58
from indexer.errors import IndexerError
from indexer.rpc.answers import RpcCall, RpcError
from indexer.rpc.refusals import ErrorKind
from indexer.solana.client import CONFIRMED, FIRST_BLOCK
from indexer.solana.waking import Waker
from indexer.solana.wallets import accounts_calls
from ops.chains.solana.client import solana_client
from ops.chains.solana.commanding import open_key
from ops.chains.solana.source import followed_wallets, narrowed_to
from ops.errors import OperationError
from ops.settings import ChainSettings, Settings, SignerSettings

ATTEMPTS = 3  # somebody waits for the answer
KEY_BYTES = 32
ACCOUNTS_MAX = 100  # that a node tells at once


class _Account(msgspec.Struct):
    executable: bool


class _Accounts(msgspec.Struct):
    value: list[_Account | None]


class _TokenAccount(msgspec.Struct):
    owner: str  # the program
    data: tuple[str, str]


class _TokenAccounts(msgspec.Struct):
    value: list[_TokenAccount | None]


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
    """Yield the checks of what is followed, and of its history."""
    programs = {
        name: narrowed_to(settings, chain, name) or tuple(at)
        for name, at in addresses.items()
        if name not in (TOKENS, FEES)
    }
    yield "programs", partial(_programs, settings, chain, programs)
    if tokens := addresses.get(TOKENS):
        yield "tokens", partial(_tokens, settings, chain, list(tokens))
    wallets = followed_wallets(chain)
    if wallets:
        yield "wallets", partial(_wallets, settings, chain, list(wallets))
        addresses = {**addresses, "wallets": wallets}
    yield from _account_checks(settings, chain, registry)
    name = chain.name
    if chain.ws:
        followed = [key for at in addresses.values() for key in at]
        yield "wake-ups", partial(_wake_ups, chain, followed)
    yield "history", partial(_history, settings, name, addresses, engine, registry)


def _wake_ups(chain: ChainSettings, addresses: Sequence[bytes]) -> str:
    """Every WebSocket takes a subscription; raises OperationError naming the one."""
    for url in chain.ws:
        waker = Waker(chain.name, [url], addresses[:1], asyncio.Event())
        try:
            asyncio.run(waker.try_once(url))
        except IndexerError as error:
            raise OperationError(
                f"{error}. Correct ws, or leave it out: the chain is polled without it"
            ) from None
    return f"{len(chain.ws)} WebSockets take subscriptions"


def _programs(
    settings: Settings,
    chain: ChainSettings,
    addresses: Mapping[str, Collection[bytes]],
) -> str:
    """Every configured address is a program: another is followed in vain."""
    named = [(name, to_base58(key)) for name, at in addresses.items() for key in at]
    accounts = _accounts(settings, chain, [text for _, text in named])
    wrong = [
        f"{name} {text}"
        for (name, text), account in zip(named, accounts, strict=True)
        if account is None or not account.executable
    ]
    if wrong:
        raise OperationError(
            f"no program at {', '.join(wrong)}: nothing will be read from there but "
            "what one did before it was closed. Correct the address, or the endpoint's "
            "cluster."
        )
    return f"programs at {len(named)} addresses"


def _tokens(settings: Settings, chain: ChainSettings, keys: Sequence[bytes]) -> str:
    """Something is at every address whose transactions are looked at for tokens."""
    texts = [to_base58(key) for key in keys]
    accounts = _accounts(settings, chain, texts)
    if empty := [
        text for text, each in zip(texts, accounts, strict=True) if each is None
    ]:
        raise OperationError(
            f"nothing is at {', '.join(empty)}: no tokens will move there but those of "
            "before it was closed. Correct the address in "
            f"[chains.{chain.name}.tokens], or the endpoint's cluster."
        )
    return f"token movements of {len(texts)} addresses"


def _wallets(settings: Settings, chain: ChainSettings, keys: Sequence[bytes]) -> str:
    """Every endpoint tells which token accounts wallets have, and they are wallets."""
    texts = [to_base58(key) for key in keys]
    place = f"[chains.{chain.name}.wallets]"
    config = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0}}
    count = 0
    for text in texts:
        asked = RpcCall("getMultipleAccounts", ([text], config), _TokenAccounts)
        try:
            here, *told = _ask(settings, chain, [asked, *accounts_calls(text)])
        except RpcError as error:
            raise OperationError(
                f"which token accounts {text} has is not told ({error}): those that "
                "somebody opens without naming the wallet are not found. Add an "
                "endpoint that answers getTokenAccountsByOwner"
            ) from None
        [account] = here.value
        owned = sum(len(each.value) for each in told)
        if account is not None and account.owner in (TOKEN, TOKEN_2022):
            raise OperationError(
                f"{text} is of a token program, and no wallet: write a token account "
                f"into [chains.{chain.name}.tokens], or correct the address in {place}"
            )
        if account is None and not owned:
            raise OperationError(
                f"nothing is at {text}, and no token account is of it: no tokens will "
                f"move there but those of before. Correct the address in {place}, or "
                "the endpoint's cluster"
            )
        count += owned
    return f"{len(texts)} wallets have {count} token accounts"


def _account_checks(
    settings: Settings, chain: ChainSettings, registry: Registry
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks of accounts that calls declare as somebody's token accounts."""
    for name, signer, mint in sorted(
        {
            (each.name, command.spec.signer or "", each.mint.name)
            for command in registry.commands.values()
            if isinstance(command.spec.call, SolanaCallSpec)
            for each in command.spec.call.accounts.values()
            if isinstance(each, Named) and isinstance(each.mint, Named)
        }
    ):
        config = settings.signers.get(signer)
        is_here = config is not None and config.chain == chain.name
        if is_here and name in chain.accounts and mint in chain.accounts:
            yield name, partial(_token_accounts, settings, chain, name, signer, mint)


def _token_accounts(
    settings: Settings, chain: ChainSettings, name: str, signer: str, mint: str
) -> str:
    """Each account of a name is a token account of the signer, for the mint."""
    texts = [to_base58(key) for key in chain.accounts[name]]
    config = {
        "encoding": "base64",
        "commitment": "confirmed",
        "dataSlice": {"offset": 0, "length": 2 * KEY_BYTES},
    }
    call = RpcCall("getMultipleAccounts", (texts, config), _TokenAccounts)
    [answer] = _ask(settings, chain, [call])
    wanted = to_base58(chain.accounts[mint][0])
    owner = _address_of(settings.signers[signer])
    wrong = [
        f"{text} {problem}"
        for text, found in zip(texts, answer.value, strict=True)
        if (problem := _wrong_account(found, wanted, owner))
    ]
    if wrong:
        raise OperationError(
            f"{'; '.join(wrong)}: nothing is paid from there. Correct {name} in "
            f"[chains.{chain.name}.accounts]."
        )
    whose = f"of {owner}" if owner else f"(no key of {signer} here to compare)"
    return f"{len(texts)} token accounts {whose}"


def _wrong_account(
    found: _TokenAccount | None, mint: str, owner: str | None
) -> str | None:
    """Return what is wrong with a token account; its data begin with mint and owner."""
    if found is None:
        return "is not there"
    data = base64.b64decode(found.data[0])
    if found.owner not in (TOKEN, TOKEN_2022) or len(data) < 2 * KEY_BYTES:
        return "is no token account"
    if (held := to_base58(data[:KEY_BYTES])) != mint:
        return f"holds tokens of {held}, not of {mint}"
    if owner is not None and (whose := to_base58(data[KEY_BYTES:])) != owner:
        return f"is of {whose}, not of {owner}"
    return None


def _address_of(config: SignerSettings) -> str | None:
    """The address of a signer; None where neither it nor its key is at hand."""
    if config.address is not None:
        return to_base58(config.address)
    try:
        return to_base58(open_key(config).address)
    except (OperationError, SigningRefused):
        return None  # another check says so


def _accounts(
    settings: Settings, chain: ChainSettings, addresses: Sequence[str]
) -> list[_Account | None]:
    """Return the accounts at some addresses, without their data."""
    config = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0}}
    parts = [
        list(addresses[at : at + ACCOUNTS_MAX])
        for at in range(0, len(addresses), ACCOUNTS_MAX)
    ]
    calls = [RpcCall("getMultipleAccounts", (p, config), _Accounts) for p in parts]
    answers = _ask(settings, chain, calls) if calls else []
    return [each for answer in answers for each in answer.value]


def _history(
    settings: Settings,
    name: str,
    addresses: Mapping[str, Mapping[bytes, int]],
    engine: Engine | None,
    registry: Registry,
) -> str:
    """Some endpoint has all blocks from which on programs are read, or they are read.

    Raises OperationError that says from where on history can be had.
    """
    starts = {key: start for at in addresses.values() for key, start in at.items()}
    lowest = min(starts.values(), default=0)
    first = min(_first_blocks(settings, settings.chains[name]), default=0)
    if first <= max(lowest, 1):
        return f"blocks from {first} on"
    lacking = {key: start for key, start in starts.items() if start < first}
    if engine is not None and _are_listed(engine, registry, name, lacking, first):
        return f"blocks from {first} on, and all before was listed"
    raise OperationError(
        f"no endpoint has blocks below {first}, and programs are read from {lowest}: "
        "reading waits, nothing is skipped. Add an endpoint that keeps all history, "
        f"or give the programs start = {first} and do without what was before"
    )


def _first_blocks(settings: Settings, chain: ChainSettings) -> Iterator[int]:
    """The first block that each endpoint has; 0 of one that cannot say."""
    for url in chain.rpc:
        try:
            [first] = _ask(settings, replace(chain, rpc=(url,)), [FIRST_BLOCK])
        except RpcError as error:
            if error.refusal is ErrorKind.METHOD:
                yield 0
        except IndexerError:
            continue  # another check says that it does not answer
        else:
            yield int(first)


def _are_listed(
    engine: Engine,
    registry: Registry,
    name: str,
    starts: Mapping[bytes, int],
    first: int,
) -> bool:
    """Whether the listing of every address has crossed all slots below one."""
    with engine.connect() as connection:
        if fit_of(connection, registry).unusable:
            return False
        row = sources.find(connection, name)
        return row is not None and not any(
            listing.missing(connection, row.id, key, BlockRange(start, first - 1))
            for key, start in starts.items()
        )


# Any: each call says of which type its answer is.
def _ask(
    settings: Settings, chain: ChainSettings, calls: Sequence[RpcCall]
) -> Sequence[Any]:
    client = solana_client(settings, chain, None, ATTEMPTS)

    async def whole() -> Sequence[Any]:
        try:
            return (await client.batch(calls)).results
        finally:
            await client.close()

    return asyncio.run(whole())
