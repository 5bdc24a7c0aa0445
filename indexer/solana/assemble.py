"""Transactions to facts: attribution, decoding, and what failed, for a whole range.

A position is `slot << 32 | index << 16 | number`: the index of the transaction in its
block, and the number of what happened in it (`indexer.solana.walk`). A block of today
has some thousands of transactions, and a transaction runs at most 64 instructions and
writes at most 10,000 bytes of logs; so both have 16 bits. The highest numbers are for
token movements (`indexer.solana.movements`), below them is that of the fee; all of them
are behind what ran.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Self

import msgspec

from db.declare import Event, Program, Tokens
from db.declare.solana import Fees
from db.position import position
from idl import Idl, load_builtin
from idl.base58 import to_base58
from idl.parse import builtins
from indexer.rpc.messages import Malformed
from indexer.solana.decode import (
    Decoded,
    LayoutDecoder,
    Occurrence,
    ProgramDecoder,
    undecodable,
)
from indexer.solana.fees import NUMBER, FollowedPayers
from indexer.solana.messages import RpcTransaction, key_bytes, signature_bytes
from indexer.solana.movements import FollowedTokens, movements
from indexer.solana.walk import IDL_TAG, Walked, keys_of, names_one, walk
from indexer.source import FailedTransaction

INDEX_BITS = 16
INDEX_MAX = (1 << INDEX_BITS) - 1
NUMBER_MAX = NUMBER - 1  # of what ran

_FAILED = re.compile(r"Program (\w{32,44}) failed: (.*)")
# Anchor writes its own errors, and the program's, into the logs by name.
_NAMED = re.compile(r"Program log: AnchorError .*Code: (\w+)\. Error Number: (\d+)\..*")
_ERROR_SHOWN = 500
_NONE: Mapping[str, Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FollowedProgram:
    """A program with its addresses, each with its first slot, and declared events.

    With `places` these are where the program is, and the addresses are those of which
    a transaction must name one for what the program did in it to be facts. So are
    those of `Tokens`, and `wallets`, whose token accounts are found as they open.
    """

    program: Program
    addresses: Mapping[bytes, int]
    events: Sequence[type[Event]]
    places: Sequence[bytes] = ()
    wallets: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class Placed:
    """A transaction with its place in its block, and the block's time."""

    transaction: RpcTransaction
    index: int
    block_time: int


@dataclass(slots=True)
class Assembled(Decoded):
    """The facts of some transactions, and what is stored beside them."""

    failed: list[FailedTransaction] = field(default_factory=list)
    truncated: int = 0  # transactions of which a part of the logs is missing
    unknown: int = 0  # bodies that the IDL does not know


class Assembler:
    """Makes facts of the transactions of some programs."""

    def __init__(
        self,
        decoders: Mapping[str, ProgramDecoder],
        tokens: FollowedTokens | None = None,
        narrowed: Mapping[str, Mapping[str, int]] = _NONE,
        payers: FollowedPayers | None = None,
    ) -> None:
        self._decoders = decoders  # by the program's address in base58
        self._tokens = tokens
        self._payers = payers
        # By the program's address, those of which a transaction must name one.
        self._narrowed = narrowed

    @classmethod
    def of(cls, programs: Iterable[FollowedProgram]) -> Self:
        """Return one for these programs; `Tokens` and `Fees` may be among them."""
        decoders: dict[str, ProgramDecoder] = {}
        tokens: FollowedTokens | None = None
        narrowed: dict[str, Mapping[str, int]] = {}
        payers: FollowedPayers | None = None
        for each in programs:
            decoder = ProgramDecoder(each.program, each.events)
            starts = {to_base58(key): start for key, start in each.addresses.items()}
            if isinstance(each.program, Tokens):
                tokens = FollowedTokens(decoder, starts)
                continue
            if isinstance(each.program, Fees):
                payers = FollowedPayers(decoder, starts)
                continue
            places = [to_base58(key) for key in each.places]
            decoders |= dict.fromkeys(places or starts, decoder)
            narrowed |= dict.fromkeys(places, starts)
        return cls(decoders, tokens, narrowed, payers)

    def assemble(
        self,
        placed: Iterable[Placed],
        followed: frozenset[str],
        wanted: frozenset[str],
        owned: Mapping[str, int] = MappingProxyType({}),
    ) -> Assembled:
        """Make the facts of the wanted events, and keep what failed.

        `placed` is in order, `followed` are the addresses to look at, `owned` those of
        wallets and their token accounts, each with its first slot. Raises Malformed
        when an answer contradicts itself.
        """
        programs = self._programs(followed)
        out = Assembled()
        groups: dict[int, tuple[LayoutDecoder, list[Occurrence]]] = {}
        ran: list[Placed] = []
        for each in placed:
            meta = each.transaction.meta
            if meta is None or not each.transaction.transaction.signatures:
                raise Malformed("a transaction has no meta, or no signature: ask again")
            if each.index > INDEX_MAX:
                raise Malformed(f"a transaction has index {each.index}: ask again")
            for decoder, paid in self._paid(each, wanted):
                groups.setdefault(id(decoder), (decoder, []))[1].append(paid)
            if meta.err is not None:
                keys = keys_of(each.transaction)
                if not self._concerning(programs, each, keys).isdisjoint(keys):
                    out.failed.append(self._failed(each))
                continue
            ran.append(each)
        walked = walk([each.transaction for each in ran], programs)
        for each, found in zip(ran, walked, strict=True):
            heard = self._concerning(programs, each, found.keys)
            found = found if heard == programs else found.of(heard)
            self._add(each, found, wanted, groups, out)
            for decoder, moved in self._moved(each, found.keys, wanted, owned):
                groups.setdefault(id(decoder), (decoder, []))[1].append(moved)
        for decoder, occurrences in groups.values():
            decoder.decode(occurrences, wanted, out)
        return out

    def _programs(self, followed: frozenset[str]) -> frozenset[str]:
        """The programs to look at when these addresses are followed."""
        found = followed.intersection(self._decoders).difference(self._narrowed)
        return found.union(
            program
            for program, starts in self._narrowed.items()
            if not followed.isdisjoint(starts)
        )

    def _concerning(
        self, programs: frozenset[str], each: Placed, keys: Sequence[str]
    ) -> frozenset[str]:
        """Those of some programs whose doings in a transaction are facts."""
        if not self._narrowed:
            return programs
        slot = each.transaction.slot
        return programs.difference(
            program
            for program, starts in self._narrowed.items()
            if not names_one(keys, slot, starts)
        )

    def _add(
        self,
        each: Placed,
        walked: Walked,
        wanted: frozenset[str],
        groups: dict[int, tuple[LayoutDecoder, list[Occurrence]]],
        out: Assembled,
    ) -> None:
        """Add what the followed programs did in one transaction to its groups."""
        out.truncated += walked.truncated
        keys = walked.keys
        signature = signature_bytes(each.transaction.transaction.signatures[0])
        base = position(each.transaction.slot, each.index << INDEX_BITS)

        def occurrence(number: int, program: str, body: bytes) -> Occurrence:
            if number > NUMBER_MAX:
                raise Malformed(f"a transaction does {number} things: ask again")
            at = base + number
            return Occurrence(at, each.block_time, signature, key_bytes(program), body)

        for strange in walked.strange:
            found = occurrence(strange.number, strange.program, strange.body)
            name = self._decoders[strange.program].program.name
            out.undecodable.append(undecodable(found, name, strange.reason))
        bodies = [(e.number, e.program, e.body, None) for e in walked.emitted]
        calls = [(c.number, c.program, c.data, c.accounts) for c in walked.calls]
        for number, program, body, accounts in [*bodies, *calls]:
            decoders = self._decoders[program].at(each.transaction.slot)
            body = body if accounts is None else body or decoders.bare
            decoder = decoders.find(body, instruction=accounts is not None)
            found = occurrence(number, program, body)
            if decoder is None and accounts is not None and body[:8] == IDL_TAG:
                continue  # Anchor's own, in every program: an IDL is written
            if decoder is None:
                out.unknown += 1
                reason = "the IDL knows nothing that begins so"
                name = self._decoders[program].program.name
                out.undecodable.append(undecodable(found, name, reason))
            elif not wanted.isdisjoint(decoder.ids):
                if accounts:
                    found = _with_accounts(found, keys, accounts, decoder.named)
                groups.setdefault(id(decoder), (decoder, []))[1].append(found)

    def _paid(
        self, each: Placed, wanted: frozenset[str]
    ) -> Iterator[tuple[LayoutDecoder, Occurrence]]:
        """Yield the fee of a transaction that a followed payer paid."""
        body = None if self._payers is None else self._payers.body(each.transaction)
        if self._payers is None or body is None:
            return
        decoder = self._payers.decoder.at(0).find(b"", instruction=False)
        if decoder is not None and not wanted.isdisjoint(decoder.ids):
            signature = signature_bytes(each.transaction.transaction.signatures[0])
            at = position(each.transaction.slot, each.index << INDEX_BITS | NUMBER)
            yield decoder, Occurrence(at, each.block_time, signature, body[:32], body)

    def _moved(
        self,
        each: Placed,
        keys: Sequence[str],
        wanted: frozenset[str],
        owned: Mapping[str, int],
    ) -> Iterator[tuple[LayoutDecoder, Occurrence]]:
        """Yield the token movements of a transaction that names a followed address."""
        tokens, transaction = self._tokens, each.transaction
        if tokens is None or not (
            tokens.concern(transaction.slot, keys)
            or names_one(keys, transaction.slot, owned)
        ):
            return
        decoder = tokens.decoder.at(0).find(b"", instruction=False)
        if decoder is None or wanted.isdisjoint(decoder.ids):
            return
        signature = signature_bytes(transaction.transaction.signatures[0])
        base = position(transaction.slot, each.index << INDEX_BITS)
        for moved in movements(transaction, keys):
            at, program = base + moved.number, key_bytes(moved.program)
            time = each.block_time
            yield decoder, Occurrence(at, time, signature, program, moved.body)

    def _failed(self, each: Placed) -> FailedTransaction:
        """Keep what is known of a transaction that changed nothing."""
        meta = each.transaction.meta
        assert meta is not None
        program = None
        # The first to fail is the innermost: those that called it fail with it.
        for line in meta.log_messages or ():
            if match := _FAILED.fullmatch(line):
                program = match[1]
                break
        code = _custom_code(meta.err)
        error = msgspec.json.encode(meta.err).decode()
        decoder = self._decoders.get(program or "")
        slot = each.transaction.slot
        idl = decoder.at(slot).idl if decoder else _everybodys().get(program or "")
        if idl and code is not None:
            declared_error = idl.errors.get(code)
            error = (
                declared_error.name
                if declared_error
                else _logged_name(meta.log_messages, code, error)
            )
        return FailedTransaction(
            position(each.transaction.slot, each.index << INDEX_BITS),
            each.block_time,
            signature_bytes(each.transaction.transaction.signatures[0]),
            None if program is None else key_bytes(program),
            code,
            error[:_ERROR_SHOWN].replace("\0", "�"),
        )


def _with_accounts(
    found: Occurrence, keys: Sequence[str], accounts: Sequence[int], most: int | None
) -> Occurrence:
    if not 0 <= min(accounts) <= max(accounts) < len(keys):
        raise Malformed("an instruction names a key that is not there")
    named = [key_bytes(keys[at]) for at in accounts[:most]]
    return Occurrence(
        found.position, found.block_time, found.signature, found.program, found.body,
        named,
    )  # fmt: skip


@cache
def _everybodys() -> dict[str, Idl]:
    """The IDLs of programs that any other may call, by address."""
    idls = map(load_builtin, builtins())
    return {to_base58(idl.address): idl for idl in idls if idl.address is not None}


def _logged_name(lines: Sequence[str] | None, code: int, unnamed: str) -> str:
    """The name that Anchor logged for an error of its own, which no IDL has."""
    for line in lines or ():
        match = _NAMED.fullmatch(line)
        if match and int(match[2]) == code:
            return match[1]
    return unnamed


def _custom_code(error: Any) -> int | None:
    """The number in `{"InstructionError": [0, {"Custom": 6000}]}`."""
    try:
        code = error["InstructionError"][1]["Custom"]
    except (TypeError, LookupError):
        return None
    return code if isinstance(code, int) else None
