"""Wallets that are followed with all their token accounts, as these are found.

A transaction tells whose the token accounts are that it names, so an account is found
in the first transaction that names both it and its wallet, or an address that is
followed besides: its history is listed then, whole, and read. One that somebody opened
for a wallet without naming it is found when nodes are asked which accounts it has.
Where slots were read without an account that is found later, the database says so
(`db.solana.wallets`), and they are read again.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import msgspec

from db.position import BlockRange
from db.solana import wallets as stored
from db.solana.wallets import WALLET
from idl.base58 import to_base58
from indexer.errors import IndexerError
from indexer.rpc.answers import RpcCall
from indexer.rpc.messages import Malformed
from indexer.solana.assemble import FollowedProgram
from indexer.solana.balances import PROGRAMS
from indexer.solana.client import SolanaClient
from indexer.solana.listing import Listing, StillListing, Walker
from indexer.solana.messages import RpcTransaction, key_bytes
from indexer.solana.walk import keys_of
from indexer.source import Child

LOOK_SECONDS = 60.0  # between two questions which accounts a wallet has

log = logging.getLogger(__name__)


class _Keyed(msgspec.Struct):
    pubkey: str


class _Context(msgspec.Struct):
    slot: int


class TokenAccounts(msgspec.Struct):
    """The token accounts of a wallet at the end of a final slot."""

    context: _Context
    value: list[_Keyed]


@dataclass(slots=True)
class Owned:
    """Addresses that are read for wallets: the wallets, and their token accounts.

    `pairs` are the accounts that are known, each with its wallet's filter; `found`
    those that were not.
    """

    starts: dict[bytes, int] = field(default_factory=dict)
    pairs: set[tuple[str, bytes]] = field(default_factory=set)
    found: list[Child] = field(default_factory=list)

    def texts(self) -> dict[str, int]:
        """Return the first slot of each address, by its text."""
        return {to_base58(address): start for address, start in self.starts.items()}


def accounts_calls(wallet: str) -> list[RpcCall]:
    """Ask which token accounts a wallet has, of both token programs."""
    config = {
        "encoding": "base64",
        "commitment": "finalized",
        "dataSlice": {"offset": 0, "length": 0},
    }
    return [
        RpcCall(
            "getTokenAccountsByOwner",
            (wallet, {"programId": program}, config),
            TokenAccounts,
        )
        for program in sorted(PROGRAMS)
    ]


class Wallets:
    """The followed wallets of a cluster."""

    def __init__(
        self,
        client: SolanaClient,
        listing: Listing,
        walker: Walker,
        programs: Iterable[FollowedProgram],
    ) -> None:
        self._client = client
        self._listing = listing
        self._walker = walker
        self._ids: set[str] = set()  # of the events that they are read for
        self._starts: dict[bytes, int] = {}
        for each in programs:
            if each.wallets:
                self._ids |= {event.spec.id for event in each.events}
                self._starts |= each.wallets
        self._filters = {key: WALLET + to_base58(key) for key in self._starts}
        self._look_at = 0.0  # on the monotonic clock

    @property
    def addresses(self) -> Sequence[bytes]:
        """The wallets' own addresses."""
        return list(self._starts)

    async def known(self, ids: frozenset[str], last: int) -> Owned:
        """Return what is read for wallets up to a slot, for some events."""
        starts = {key: start for key, start in self._starts.items() if start <= last}
        owned = Owned(dict(starts))
        if not starts or self._ids.isdisjoint(ids):
            return Owned()
        first = {self._filters[key]: start for key, start in starts.items()}
        owned.pairs = await self._listing.run(
            lambda c, source: stored.accounts(c, source, list(first))
        )
        for filter_, account in owned.pairs:
            _lower(owned.starts, account, first[filter_])
        return owned

    async def find(
        self, read: Iterable[RpcTransaction], owned: Owned, confirmed: int
    ) -> dict[bytes, int]:
        """Add the accounts that transactions show to what is owned; return them.

        The history of each is listed up to the confirmed slot. Raises Retryable when
        that takes long: what was listed stays.
        """
        fresh: dict[bytes, int] = {}
        for transaction in read:
            for wallet, account in self._shown(transaction):
                pair = self._filters[wallet], account
                if wallet not in owned.starts or pair in owned.pairs:
                    continue
                await self._walk(account, self._starts[wallet], confirmed)
                owned.pairs.add(pair)
                owned.found.append(Child(*pair, transaction.slot))
                _lower(fresh, account, self._starts[wallet])
        for account, start in fresh.items():
            _lower(owned.starts, account, start)
        return fresh

    def _shown(self, transaction: RpcTransaction) -> Iterable[tuple[bytes, bytes]]:
        """The wallets whose accounts a transaction names, each with the account."""
        meta = transaction.meta
        if meta is None:
            return
        keys: Sequence[str] | None = None
        for each in (
            *(meta.pre_token_balances or ()),
            *(meta.post_token_balances or ()),
        ):
            wallet = key_bytes(each.owner) if each.owner is not None else b""
            if self._starts.get(wallet, transaction.slot + 1) > transaction.slot:
                continue
            keys = keys or keys_of(transaction)
            if not 0 <= each.account_index < len(keys):
                raise Malformed("a token balance is of a key that is not there: again")
            yield wallet, key_bytes(keys[each.account_index])

    async def _walk(self, account: bytes, start: int, confirmed: int) -> None:
        if start <= confirmed:
            whole = BlockRange(start, confirmed)
            await self._walker.cover(account, start, whole, confirmed)

    async def look(self, confirmed: int) -> None:
        """Ask from time to time which accounts the wallets have, and keep new ones.

        What cannot be asked now is asked later: what names a wallet is found without.
        """
        if not self._starts or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        for wallet, start in self._starts.items():
            try:
                await self._look(wallet, start, confirmed)
            except StillListing as error:
                log.info("wallet_account_listed cause=%s", error)
                self._look_at = 0.0  # and goes on
            except IndexerError as error:
                log.warning(
                    "wallet_accounts_not_told wallet=%s cause=%s",
                    to_base58(wallet), error,
                )  # fmt: skip

    async def _look(self, wallet: bytes, start: int, confirmed: int) -> None:
        filter_ = self._filters[wallet]
        known = await self._listing.run(
            lambda c, source: stored.accounts(c, source, [filter_])
        )
        for call in accounts_calls(to_base58(wallet)):
            told: TokenAccounts = await self._client.call(call)
            for each in told.value:
                account = key_bytes(each.pubkey)
                if (filter_, account) in known:
                    continue
                await self._walk(account, start, confirmed)
                row = asdict(Child(filter_, account, min(told.context.slot, confirmed)))
                await self._listing.run(
                    lambda c, source, row=row: stored.keep(c, source, [row])  # type: ignore[misc]
                )


def _lower(starts: dict[bytes, int], address: bytes, start: int) -> None:
    """Have an address read from a slot on, or from an earlier one as it was."""
    starts[address] = min(start, starts.get(address, start))
