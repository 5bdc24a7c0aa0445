"""The history of an IDL, as the endpoints of a cluster tell it.

Nodes list backwards, in pages, and a short or empty page proves nothing: every endpoint
is asked for the whole list, and what any of them lists is read. Each transaction that
is listed is fetched, where one answers null of another endpoint; none is skipped.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

# Any: each call says of which type its answer is.
from typing import Any, Generic, NamedTuple, TypeVar

from indexer.errors import Contradiction, Retryable
from indexer.rpc.answers import Missing, RpcCall, RpcError
from indexer.rpc.endpoint import Endpoint
from indexer.rpc.messages import Malformed
from indexer.rpc.refusals import ErrorKind
from indexer.solana.client import (
    FIRST_BLOCK,
    PAGE_MAX,
    SolanaClient,
    block_call,
    page_call,
)
from indexer.solana.listing import next_before
from indexer.solana.messages import RpcSignature, signature_bytes
from indexer.solana.reading import Reader
from indexer.solana.walk import InstructionCall, Walked, walk
from ops.deploying import LOADER
from ops.errors import OperationError
from ops.idl_replay import IdlStep, ReplayedIdl, replay, sources_of, steps_of

T = TypeVar("T")

LINES_MAX = 200_000  # transactions of one history
ACCOUNTS_MAX = 500  # the IDL's own and its buffers
DATA_MAX = 64 << 20  # bytes of the instructions that are kept
CHUNK = 200  # transactions that are read at once
ATTEMPTS = 4  # of a list, at each endpoint
PAUSE_SECONDS = 0.5  # before the second; doubled each time
KEEPER = "add an endpoint that keeps all history, and try again"
# Of the loader's instructions that put code into program data, which account that is.
_CODE_AT: Mapping[bytes, int] = {struct.pack("<I", 2): 1, struct.pack("<I", 3): 0}


@dataclass(frozen=True, slots=True)
class Told:
    """The history of an IDL by what endpoints tell.

    They have blocks from slot `since` on (0: all of them). `silent` are those that did
    not answer.
    """

    replay: ReplayedIdl
    since: int
    silent: Sequence[str]


class _Record(NamedTuple):
    """A transaction's name, its place in its block where that is told, and its gist."""

    slot: int
    name: str
    place: int | None
    gist: Sequence[Any]


@dataclass(slots=True)
class _Lists:
    """The slots of all signatures that are listed, and who listed them."""

    slots: dict[str, int] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)


async def tell(client: SolanaClient, program: str, address: str) -> Told:
    """Return the history of the account of an IDL, with that of its buffers.

    Raises Retryable when no endpoint answers, and OperationError when a transaction
    cannot be had, or there are more than real histories have.
    """
    reader: _Reader[IdlStep] = _Reader(client, program, steps_of)
    accounts, fresh = {address}, {address}
    while fresh:
        for account in sorted(fresh):
            await reader.add(account)
        await reader.read()
        fresh = sources_of(reader.found(), accounts)
        accounts |= fresh
        if len(accounts) > ACCOUNTS_MAX:
            raise _too_large(f"{len(accounts)} accounts")
    await reader.order()
    lists = reader.lists
    return Told(
        replay(list(reader.found()), address),
        min(lists.since.values(), default=0),
        sorted(lists.silent),
    )


async def deployments(client: SolanaClient, program_data: str) -> list[int]:
    """Return the slots in which code was put into an account of program data."""

    def gist(slot: int, walked: Walked) -> list[int]:
        return [slot for call in walked.calls if _coded(call, walked) == program_data]

    reader: _Reader[int] = _Reader(client, str(LOADER), gist)
    await reader.add(program_data)
    await reader.read()
    return sorted({*reader.found()})


def _coded(call: InstructionCall, walked: Walked) -> str | None:
    """The account into which the loader puts code, None for other instructions."""
    place = _CODE_AT.get(call.data[:4], len(call.accounts))
    keys = dict(enumerate(walked.keys))
    return keys.get(call.accounts[place]) if place < len(call.accounts) else None


class _Reader(Generic[T]):
    """Lists and reads transactions; keeps what `gist` finds in those that went well."""

    def __init__(
        self,
        client: SolanaClient,
        program: str,
        gist: Callable[[int, Walked], Sequence[T]],
    ) -> None:
        self._client = client
        self._program, self._gist = program, gist
        self._reader = Reader(client, _nothing)
        self.lists = _Lists()
        self._read: set[str] = set()
        self._records: list[_Record] = []
        self._kept = 0  # bytes

    def found(self) -> Iterator[T]:
        """Return the gist of all, in the order of the chain after `order`."""
        return (each for record in self._records for each in record.gist)

    async def add(self, account: str) -> None:
        """List an account at every endpoint; one must answer."""
        answered, failure = False, None
        slots = self.lists.slots
        for endpoint in self._client.usable():
            try:
                lines = await self._lines(endpoint, account)
                self.lists.since[endpoint.label] = await self._first_block(endpoint)
            except Retryable as error:
                self.lists.silent.add(endpoint.label)
                failure = error
                continue
            answered = True
            for line in lines:
                if slots.setdefault(line.signature, line.slot) != line.slot:
                    raise Contradiction(
                        f"endpoints list {line.signature} in two slots: try again when "
                        "it is final"
                    )
        if len(slots) > LINES_MAX:
            raise _too_large(f"{len(slots)} transactions")
        if not answered:
            raise failure or OperationError(f"no endpoint can be asked: {KEEPER}")

    async def _lines(self, endpoint: Endpoint, account: str) -> list[RpcSignature]:
        """All lines of one endpoint: pages until one has nothing new."""
        found: dict[str, RpcSignature] = {}
        before: str | None = None
        while True:
            page = await self._ask(endpoint, page_call(account, before, PAGE_MAX))
            slots = [line.slot for line in page]
            if slots != sorted(slots, reverse=True) or min(slots, default=0) < 0:
                raise Malformed(
                    f"{endpoint.label}: the listing of {account} is not in order: again"
                )
            fresh = {line.signature: line for line in page} | found
            if len(fresh) == len(found):
                return list(found.values())
            for name in fresh.keys() - found.keys():
                signature_bytes(name)  # raises Malformed
            found = fresh
            if len(found) > LINES_MAX:
                raise _too_large(f"{len(found)} transactions")
            before = next_before(page)

    async def _first_block(self, endpoint: Endpoint) -> int:
        try:
            first = int(await self._ask(endpoint, FIRST_BLOCK))
        except RpcError as error:
            if error.refusal is not ErrorKind.METHOD:
                raise
            return 0  # a node that cannot tell what it lacks keeps everything
        return first if first > 1 else 0

    async def _ask(self, endpoint: Endpoint, call: RpcCall) -> Any:
        """Ask one endpoint, and again after a pause where it does not answer."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._client.ask(endpoint, call)
            except Retryable as error:
                if isinstance(error, RpcError) or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def read(self) -> None:
        """Read every transaction that is listed and was not read yet."""
        slots = self.lists.slots
        left = iter([(name, slots[name]) for name in slots if name not in self._read])
        while part := dict(islice(left, CHUNK)):
            wanted = {signature_bytes(name): slot for name, slot in part.items()}
            try:
                found = await self._reader.transactions(wanted)
            except Missing as error:
                raise OperationError(
                    f"a transaction of the history is listed, and no endpoint has it "
                    f"({error}). None is left out: {KEEPER}"
                ) from None
            self._read.update(part)
            well = [
                each for each in found if each.meta is None or each.meta.err is None
            ]
            for each, walked in zip(well, walk(well, {self._program}), strict=True):
                if gist := self._gist(each.slot, walked):
                    name = each.transaction.signatures[0]
                    place = each.transaction_index
                    self._records.append(_Record(each.slot, name, place, gist))
                    self._kept += sum(len(call.data) for call in walked.calls)
            if self._kept > DATA_MAX:
                raise _too_large(f"more than {DATA_MAX} bytes")

    async def order(self) -> None:
        """Put the records in the order of the chain.

        Blocks are asked for where several are of one slot and their places not told.
        """
        by_slot: dict[int, list[_Record]] = defaultdict(list)
        for record in self._records:
            by_slot[record.slot].append(record)
        ordered: list[_Record] = []
        for slot, records in sorted(by_slot.items()):
            places = {each.name: each.place for each in records}
            if len(records) > 1 and len({*places.values()} - {None}) < len(records):
                block = await self._client.call(block_call(slot, signatures=True))
                told = (block.signatures if block else None) or ()
                places = {name: at for at, name in enumerate(told)}
                if any(each.name not in places for each in records):
                    raise OperationError(
                        f"the block of slot {slot} lacks transactions of it, so "
                        f"their order is not known: {KEEPER}"
                    )
            ordered += sorted(records, key=lambda each, at=places: at[each.name] or 0)  # type: ignore[misc]
        self._records = ordered


def _too_large(found: str) -> OperationError:
    return OperationError(
        f"this history has {found}, more than is read: somebody made it so. Fetch "
        "the present one, without --history"
    )


async def _nothing(_: object) -> None:
    """Have nothing listed anew: what was read is thrown away whole."""
