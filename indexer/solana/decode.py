"""Bytes of events and instructions to columns of facts, for whole batches at once.

The bodies of one layout are decoded together. Where all its fields have a fixed size
they are joined and viewed as one array of bytes, of which each field is a slice; others
are read one by one. What is not as the IDL says becomes an `UndecodableLog`, and so
does what the IDL does not know: both keep their bytes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from db.declare import Event, Field, Program
from db.declare.solana.program import ACCOUNT, Layout
from db.facts import FactColumns
from db.wire import Bytes2D, Column, encode_value, encode_words
from idl.base58 import to_base58
from idl.codec import DecodeError, Decoder
from idl.model import EventLayout, Idl, IdlVersion, InstructionLayout
from idl.plain import plainer
from idl.types import (
    INTEGERS,
    PUBKEY,
    Array,
    Enum,
    Primitive,
    Type,
    is_bytes,
    uncounted,
)
from indexer.source import UndecodableLog

_JSON = b"\x01"  # the version of jsonb's binary form
_FIXED_SIZES = {name: size for name, (_, size) in INTEGERS.items()} | {"pubkey": 32}


class Occurrence(NamedTuple):
    """One event or instruction of a followed program, as bytes."""

    position: int
    block_time: int
    signature: bytes
    program: bytes
    body: bytes
    accounts: Sequence[bytes] = ()  # of an instruction, in its order


@dataclass(slots=True)
class Decoded:
    """Facts made of some occurrences, and bytes that are none."""

    facts: list[FactColumns] = field(default_factory=list)
    undecodable: list[UndecodableLog] = field(default_factory=list)


class LayoutDecoder:
    """Decodes one event or instruction into the facts of each event declared on it."""

    def __init__(self, program: Program, idl: Idl, layout: Layout) -> None:
        self.layout = layout
        self._is_event = isinstance(layout, EventLayout)
        self.events: list[type[Event]] = []
        self.ids: set[str] = set()  # of the events
        self.name = f"{program.name}.{layout.name}"
        self._types = idl.types
        self._names = [each.name for each in layout.fields]
        self._of = {each.name: uncounted(each.type) for each in layout.fields}
        self._decoder = Decoder(layout.fields, idl.types)
        sizes = [_fixed_size(each.type) for each in layout.fields]
        self._sizes = None if None in sizes else [size or 0 for size in sizes]
        self._plain: dict[str, Any] = {}
        refs = layout.accounts if isinstance(layout, InstructionLayout) else ()
        self._refs = {ACCOUNT + ref.name: (at, ref) for at, ref in enumerate(refs)}
        # How many of its accounts are looked at; None: all.
        self.named = None if any(ref.remaining for ref in refs) else len(refs)
        needed = [not ref.optional and not ref.remaining for ref in refs]
        self._least = max((at + 1 for at, need in enumerate(needed) if need), default=0)

    def declare(self, event: type[Event]) -> None:
        """Make facts of an event of it, too."""
        self.events.append(event)
        self.ids.add(event.spec.id)

    def decode(
        self, found: Sequence[Occurrence], wanted: Collection[str], out: Decoded
    ) -> None:
        """Add the facts of the wanted events, and what could not be read."""
        found = self._with_accounts(found, out)
        start = len(self.layout.discriminator)
        if self._sizes is not None:
            end = start + sum(self._sizes)
            bad = [each for each in found if not self._fits(len(each.body), end)]
            for each in bad:
                out.undecodable.append(
                    self.refuse(each, f"{len(each.body)} bytes, not {end}")
                )
            if bad:
                found = [each for each in found if self._fits(len(each.body), end)]
            joined = b"".join([each.body[start:end] for each in found])
            table = np.frombuffer(joined, dtype=np.uint8).reshape(
                len(found), end - start
            )
            self._emit(found, self._slices(table), wanted, out)
            return
        rows: list[list[Any]] = []
        kept: list[Occurrence] = []
        for each in found:
            try:
                values, end = self._decoder.decode(each.body, start)
            except DecodeError as error:
                out.undecodable.append(self.refuse(each, str(error)))
                continue
            if not self._fits(len(each.body), end):
                reason = f"{len(each.body)} bytes, not {end}"
                out.undecodable.append(self.refuse(each, reason))
                continue
            if self._decoder.mended:
                reason = "a text is not UTF-8 without zeros: U+FFFD stands for the rest"
                out.undecodable.append(self.refuse(each, reason, kept=True))
            rows.append(values)
            kept.append(each)
        columns = dict(zip(self._names, zip(*rows, strict=True), strict=bool(rows)))
        self._emit(kept, columns, wanted, out)

    def _fits(self, size: int, end: int) -> bool:
        """Whether a body has the right size.

        Programs do not look at what is behind the arguments of an instruction; but an
        event with more behind it than its IDL says is that of another version.
        """
        return size == end if self._is_event else size >= end

    def refuse(
        self, found: Occurrence, reason: str, *, kept: bool = False
    ) -> UndecodableLog:
        """Keep the bytes of what is no fact, or not as it is."""
        return undecodable(found, self.name, reason, kept=kept)

    def _with_accounts(
        self, found: Sequence[Occurrence], out: Decoded
    ) -> Sequence[Occurrence]:
        """Those that name as many accounts as the instruction needs."""
        if not self._least or all(len(e.accounts) >= self._least for e in found):
            return found
        for each in found:
            if len(each.accounts) < self._least:
                reason = f"{len(each.accounts)} accounts, not {self._least}"
                out.undecodable.append(self.refuse(each, reason))
        return [each for each in found if len(each.accounts) >= self._least]

    def _slices(self, table: Bytes2D) -> dict[str, Any]:
        columns, at = {}, 0
        for name, size in zip(self._names, self._sizes or (), strict=True):
            columns[name] = table[:, at : at + size]
            at += size
        return columns

    def _emit(
        self,
        found: Sequence[Occurrence],
        columns: dict[str, Any],
        wanted: Collection[str],
        out: Decoded,
    ) -> None:
        if not found:
            return
        positions = np.array([each.position for each in found], dtype=np.int64)
        times = np.array([each.block_time for each in found], dtype=np.int64)
        signatures = _matrix([each.signature for each in found], 64)
        for event in self.events:
            if event.spec.id in wanted:
                values = {
                    name: self._column(item, found, columns)
                    for name, item in event.spec.fields.items()
                }
                out.facts.append(
                    FactColumns(event, positions, times, signatures, values)
                )

    def _column(
        self, item: Field, found: Sequence[Occurrence], columns: dict[str, Any]
    ) -> Column:
        if item.emitter:
            return _matrix([each.program for each in found], 32)
        param = str(item.param)
        if param in self._refs:
            return self._accounts(item, param, found)
        type_, values = self._of[param], columns[param]
        if isinstance(values, np.ndarray):
            return _of_slice(item, type_, values)
        if isinstance(type_, Primitive) and type_.name in INTEGERS:
            return encode_words(item, _words(values, *INTEGERS[type_.name]))
        if type_ == PUBKEY:
            return _matrix(values, 32)
        if is_bytes(type_) or type_ == Primitive("bool"):
            return [encode_value(item, value) for value in values]
        if type_ == Primitive("string") or (isinstance(type_, Enum) and type_.bare):
            return [value.encode() for value in values]
        if param not in self._plain:
            self._plain[param] = plainer(type_, self._types)
        plain = self._plain[param]
        return [_JSON + msgspec.json.encode(plain(value)) for value in values]

    def _accounts(self, item: Field, param: str, found: Sequence[Occurrence]) -> Column:
        at, ref = self._refs[param]
        if ref.remaining:
            lists = [list(map(to_base58, each.accounts[at:])) for each in found]
            return [_JSON + msgspec.json.encode(texts) for texts in lists]
        if not ref.optional:
            return _matrix([each.accounts[at] for each in found], 32)
        # One that is left out is the program itself, or the list ends before it.
        given = [each.accounts[at : at + 1] for each in found]
        texts = [
            None if not one or one[0] == each.program else to_base58(one[0])
            for one, each in zip(given, found, strict=True)
        ]
        return [_JSON + msgspec.json.encode(text) for text in texts]


class VersionDecoder:
    """Decodes what one version of a program did, by the first bytes of each body."""

    def __init__(
        self,
        version: IdlVersion,
        events: Mapping[bytes, LayoutDecoder],
        instructions: Mapping[bytes, LayoutDecoder],
    ) -> None:
        self.first, self.idl = version.first, version.idl
        self._events, self._instructions = events, instructions
        lengths = {len(start) for start in (*events, *instructions)}
        self._lengths = sorted(lengths, reverse=True)
        bare = [each.discriminator for each in self.idl.instructions if each.bare]
        self.bare = bare[0] if bare else b""  # what an instruction without data says

    def find(self, body: bytes, *, instruction: bool) -> LayoutDecoder | None:
        """The decoder for a body; the longest discriminator that fits wins."""
        table = self._instructions if instruction else self._events
        for length in self._lengths:
            found = table.get(body[:length])
            if found is not None:
                return found
        return None


class ProgramDecoder:
    """Decodes what one program did, by its version in a slot."""

    def __init__(self, program: Program, events: Iterable[type[Event]]) -> None:
        self.program = program
        self._made: dict[tuple[int, Layout], LayoutDecoder] = {}
        self._versions = [
            VersionDecoder(
                version,
                self._by_start(number, version.idl, version.idl.events),
                self._by_start(number, version.idl, version.idl.instructions),
            )
            for number, version in enumerate(program.versions)
        ]
        for event in events:
            layout: Layout = event.spec.schema
            self._made[program.known_in(layout)[0], layout].declare(event)

    def at(self, slot: int) -> VersionDecoder:
        """The decoder for a slot."""
        for version in reversed(self._versions):
            if version.first <= slot:
                return version
        return self._versions[0]

    def _by_start(
        self, number: int, idl: Idl, layouts: Iterable[Layout]
    ) -> dict[bytes, LayoutDecoder]:
        """The decoders of a version; one for a layout that others have too."""
        found = {}
        for layout in layouts:
            key = self.program.known_in(layout)[0], layout
            if key not in self._made:
                self._made[key] = LayoutDecoder(self.program, idl, layout)
            found[layout.discriminator] = self._made[key]
        return found


def undecodable(
    found: Occurrence, name: str, reason: str, *, kept: bool = False
) -> UndecodableLog:
    """Keep the bytes of an occurrence that is no fact, or not as it is."""
    return UndecodableLog(
        found.position, found.program, found.signature, [found.body[:8]], found.body,
        name, reason, kept,
    )  # fmt: skip


def _fixed_size(type_: Type) -> int | None:
    """The bytes of a type whose values are a slice as they are, None for others."""
    if isinstance(type_, Array) and is_bytes(type_):
        return type_.size
    return _FIXED_SIZES.get(type_.name) if isinstance(type_, Primitive) else None


def _of_slice(item: Field, type_: Type, values: Bytes2D) -> Column:
    if isinstance(type_, Primitive) and type_.name in INTEGERS:
        signed, size = INTEGERS[type_.name]
        words = np.zeros((len(values), 32), dtype=np.uint8)
        words[:, 32 - size :] = values[:, ::-1]
        if signed:
            words[values[:, -1] >= 0x80, : 32 - size] = 0xFF
        return encode_words(item, words)
    return values


def _words(values: Sequence[int], signed: bool, size: int) -> Bytes2D:
    """Integers as 256-bit words, shape (n, 32), big-endian."""
    if size > 8:
        raw = b"".join([value.to_bytes(32, signed=signed) for value in values])
        return np.frombuffer(raw, dtype=np.uint8).reshape(len(values), 32)
    numbers = np.array(values, dtype=np.int64 if signed else np.uint64)
    words = np.zeros((len(values), 32), dtype=np.uint8)
    words[:, 24:] = numbers.astype(">i8" if signed else ">u8").view(np.uint8).reshape(
        -1, 8
    )  # fmt: skip
    if signed:
        words[numbers < 0, :24] = 0xFF
    return words


def _matrix(values: Sequence[bytes], size: int) -> Bytes2D:
    joined = b"".join(values)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(values), size)
