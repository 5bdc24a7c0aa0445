"""Token accounts as the chain holds them, compared with what their movements add up to.

Nodes are asked at a final slot, of which each answer says which one it is, so the
movements up to that slot have to add up to just what is told: nothing read later, and
nothing undone, can change either. An account's layout is that of the token programs'
state.rs: 165 bytes, behind which Token-2022 tells the type and writes extensions.
"""

import base64
import binascii
import struct
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from db import coverage
from db.coverage import Stream
from db.position import BlockRange
from db.solana import wallets
from db.solana.balances import folded
from db.solana.wallets import WALLET
from idl.base58 import from_base58
from indexer.rpc.answers import RpcCall
from indexer.rpc.messages import Malformed
from indexer.solana.client import SolanaClient

ACCOUNTS_MAX = 100  # that a node tells at once
PROGRAMS = frozenset(
    {
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
    }
)
ACCOUNT_BYTES, MULTISIG_BYTES = 165, 355
IS_ACCOUNT = 2  # the type of an account that has extensions


class _Account(msgspec.Struct):
    owner: str
    data: tuple[str, str]


class _Context(msgspec.Struct):
    slot: int


class _Accounts(msgspec.Struct):
    context: _Context
    value: list[_Account | None]


@dataclass(frozen=True, slots=True)
class HeldTokens:
    """Balances of accounts at the end of a final slot.

    None: at the address is something else than a token account. One that is closed, or
    was never opened, holds 0.
    """

    slot: int
    amounts: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class BalanceDifference:
    """An account whose movements do not add up to what the chain holds.

    `since` is the first slot in which one may be missing or too many.
    """

    account: str
    folded: int
    held: int
    slot: int
    since: int


@dataclass(frozen=True, slots=True)
class BalanceComparison:
    """The balances of token accounts beside those of the chain, by address.

    `unread` have slots that are not read yet up to the one that was asked for; of
    `unknown` nothing moved since the slot from which they are read; `others` are no
    token accounts.
    """

    equal: Sequence[str] = ()
    differences: Sequence[BalanceDifference] = ()
    unread: Sequence[str] = ()
    unknown: Sequence[str] = ()
    others: Sequence[str] = ()


async def held_tokens(
    client: SolanaClient, addresses: Sequence[str]
) -> list[HeldTokens]:
    """Ask what addresses hold, at final slots; raises Retryable."""
    found = []
    for at in range(0, len(addresses), ACCOUNTS_MAX):
        asked = list(addresses[at : at + ACCOUNTS_MAX])
        config = {
            "commitment": "finalized",
            "encoding": "base64",
            "dataSlice": {"offset": 0, "length": MULTISIG_BYTES + 1},
        }
        call = RpcCall("getMultipleAccounts", (asked, config), _Accounts)
        answer = await client.call(call)
        if len(answer.value) != len(asked):
            raise Malformed(f"{len(answer.value)} accounts of {len(asked)}: ask again")
        amounts = zip(asked, map(_amount, answer.value), strict=True)
        found.append(HeldTokens(answer.context.slot, dict(amounts)))
    return found


def compare_balances(
    connection: Connection,
    source: int,
    by_address: Mapping[str, Stream],
    told: Sequence[HeldTokens],
) -> BalanceComparison:
    """Compare what the chain holds with the movements up to the same slot.

    `by_address` has the stream of `TokenMoved` by which each address is read: its own,
    or that of its wallet.
    """
    owned = wallets.accounts(connection, source, wallets_of(by_address.values()))
    equal: list[str] = []
    differences: list[BalanceDifference] = []
    unread: list[str] = []
    unknown: list[str] = []
    others: list[str] = []
    for held in told:
        wanted = {by_address[address] for address in held.amounts}
        until = BlockRange(0, held.slot)
        lacking = coverage.missing(connection, source, wanted, until)
        keys = {address: from_base58(address, 32) for address in held.amounts}
        gaps = {
            address
            for address, key in keys.items()
            if by_address[address] in lacking
            or _is_unfound(by_address[address].filter, key, owned)
        }
        starts = {key: by_address[address].start for address, key in keys.items()}
        sums = folded(connection, source, starts, held.slot)
        for address, amount in held.amounts.items():
            known, start = sums.get(keys[address]), starts[keys[address]]
            if amount is None:
                others.append(address)
            elif address in gaps:
                unread.append(address)
            elif known is None and start and amount:
                unknown.append(address)
            else:
                # What it held where its reading begins was not seen to arrive.
                opening = known.opening if known and start else 0
                total = opening + (known.total if known else 0)
                if total == amount:
                    equal.append(address)
                    continue
                whole = known is not None and (start or not known.opening)
                since = known.fits_to if known and whole else start
                differences.append(
                    BalanceDifference(address, total, amount, held.slot, since)
                )
    return BalanceComparison(equal, differences, unread, unknown, others)


def _is_unfound(filter_: str, key: bytes, owned: Set[tuple[str, bytes]]) -> bool:
    """Whether an account of a wallet has not been found yet."""
    return filter_.startswith(WALLET) and (filter_, key) not in owned


def wallets_of(streams: Iterable[Stream]) -> list[str]:
    """The filters of streams that are of wallets, once each."""
    found = {stream.filter for stream in streams}
    return sorted(each for each in found if each.startswith(WALLET))


def _amount(account: _Account | None) -> int | None:
    """Return the balance of a token account, 0 of none; None for something else."""
    if account is None:
        return 0
    if account.owner not in PROGRAMS:
        return None
    try:
        data = base64.b64decode(account.data[0], validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the data of an account is not base64: ask again") from None
    extended = len(data) > ACCOUNT_BYTES and data[ACCOUNT_BYTES] == IS_ACCOUNT
    is_account = len(data) == ACCOUNT_BYTES or extended
    if not is_account or len(data) == MULTISIG_BYTES:
        return None
    (amount,) = struct.unpack_from("<Q", data, 64)
    return int(amount)
