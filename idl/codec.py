"""Bytes to values by a layout: Borsh (borsh.io), read by functions made once.

    decoder = Decoder(event.fields, idl.types)
    values, end = decoder.decode(body)         one value for each field

Fields of a fixed size that stand together are one `struct.Struct`. Values are Python's:
int, bool, float, str, bytes (also for keys), None for an absent option, a list for what
has a length, a tuple for a struct, the name of a variant without data, and for one of
an enum with data the pair of its name and its values. Where a text is not UTF-8, or
holds a zero character, U+FFFD stands for that, and the text counts as mended. Bytes
after the last value are ignored, as the programs do. Whatever the bytes are, nothing
but `DecodeError` is raised.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from idl.types import (
    INTEGERS,
    U8,
    Array,
    Counted,
    Enum,
    FieldLayout,
    Map,
    Option,
    Primitive,
    Struct,
    Tuple,
    Type,
    Vec,
    is_bytes,
)

EMPTY_MAX = 1_000  # elements without bytes that a list may have
NAMED_MAX = 16  # types that hold themselves, one in another

# Appends the values that stand at a place; returns the place after them.
Read: TypeAlias = Callable[[bytes, int, list[Any]], int]
_CODES = {
    "u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i",
    "u64": "Q", "i64": "q", "f32": "f", "f64": "d", "bool": "?", "pubkey": "32s",
}  # fmt: skip
_LENGTH = struct.Struct("<I")


class DecodeError(ValueError):
    """Bytes that are not what the layout says."""


class Decoder:
    """Reads the fields of one layout, one after the other."""

    def __init__(
        self, fields: Sequence[FieldLayout], types: Mapping[str, Type]
    ) -> None:
        self._readers = _Readers(types)
        self._read = self._readers.of_all([each.type for each in fields])

    @property
    def mended(self) -> bool:
        """Whether a text in what was decoded last had to be mended."""
        return self._readers.mended

    def decode(self, data: bytes, at: int = 0) -> tuple[list[Any], int]:
        """Return the values from a place on, and the place after them.

        Raises DecodeError when the bytes end before, or are no values of the types.
        """
        out: list[Any] = []
        self._readers.depth = 0
        self._readers.mended = False
        try:
            return out, self._read(data, at, out)
        except (struct.error, IndexError):
            raise DecodeError(f"{len(data)} bytes: they end too early") from None
        except RecursionError:
            raise DecodeError("its values nest too deeply") from None


def fixed_code(type_: Type) -> str | None:
    """Return the `struct` code of a type that is one such value, None for others."""
    if isinstance(type_, Array) and is_bytes(type_):
        return f"{type_.size}s"
    return _CODES.get(type_.name) if isinstance(type_, Primitive) else None


class _Readers:
    """Makes the functions that read types."""

    def __init__(self, types: Mapping[str, Type]) -> None:
        self._types = types
        self._named: dict[str, Read] = {}
        self.depth = 0  # of types that hold themselves, while one is read
        self.mended = False  # whether a text was

    def of_all(self, types: Sequence[Type]) -> Read:
        """Read types one after the other, each as a value of its own."""
        parts = list(self._parts(types))
        if len(parts) == 1:
            return parts[0]

        def read(data: bytes, at: int, out: list[Any]) -> int:
            for part in parts:
                at = part(data, at, out)
            return at

        return read

    def _parts(self, types: Sequence[Type]) -> Iterator[Read]:
        codes = ""
        for type_ in types:
            code = fixed_code(type_)
            if code is not None:
                codes += code
                continue
            if codes:
                yield _run(codes)
            codes = ""
            yield self._of(type_)
        if codes or not types:
            yield _run(codes)

    def _of(self, type_: Type) -> Read:
        code = fixed_code(type_)
        if code is not None:
            return _run(code)
        if isinstance(type_, Primitive):
            return self._read_text if type_.name == "string" else _wide(type_.name)
        if is_bytes(type_):
            return _read_bytes
        if isinstance(type_, Option):
            return self._option(type_)
        if isinstance(type_, Counted):
            return self._counted(type_)
        if isinstance(type_, Vec):
            return self._list(type_.item, None)
        if isinstance(type_, Array):
            return self._list(type_.item, type_.size)
        if isinstance(type_, Map):
            return self._list(Tuple((type_.key, type_.value)), None)
        if isinstance(type_, (Struct, Tuple)):
            return self._tuple(type_)
        if isinstance(type_, Enum):
            return self._enum(type_)
        return self._lookup(type_.name)

    def _read_text(self, data: bytes, at: int, out: list[Any]) -> int:
        """Read a text; what cannot be stored of it is replaced by U+FFFD."""
        at = _read_bytes(data, at, out)
        raw = out.pop()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text, self.mended = raw.decode(errors="replace"), True
        if "\0" in text:
            text, self.mended = text.replace("\0", "�"), True
        out.append(text)
        return at

    def _lookup(self, name: str) -> Read:
        """A type that holds itself: its reader is made when it is first read."""

        def read(data: bytes, at: int, out: list[Any]) -> int:
            if name not in self._named:
                self._named[name] = self._of(self._types[name])
            if self.depth > NAMED_MAX:
                raise RecursionError
            self.depth += 1
            at = self._named[name](data, at, out)
            self.depth -= 1
            return at

        return read

    def _option(self, type_: Option) -> Read:
        item = self._of(type_.item)
        tag_size = 4 if type_.c_option else 1

        def read(data: bytes, at: int, out: list[Any]) -> int:
            tag = _number(data, at, tag_size)
            at += tag_size
            if tag > 1:
                raise DecodeError(f"an option begins with {tag}, neither 0 nor 1")
            if tag or tag_size == 4:
                before = self.mended
                at = item(data, at, out)
                if tag == 0:
                    out[-1], self.mended = None, before
            else:
                out.append(None)
            return at

        return read

    def _counted(self, type_: Counted) -> Read:
        """Read what has another length before it, through the one that Borsh has."""
        inner, size = self._of(type_.item), type_.size
        item = type_.item.item if isinstance(type_.item, Vec) else U8
        width = struct.calcsize(f"<{fixed_code(item) or 'B'}")

        def read(data: bytes, at: int, out: list[Any]) -> int:
            left = len(data) - at - size
            if size:
                count = _number(data, at, size)
            else:
                count, torn = divmod(left, width)
                if torn:
                    raise DecodeError(f"{left} bytes are no list of {width} bytes each")
            if count > left:
                raise DecodeError(f"a length of {count} in {left} bytes")
            at += size
            return at + inner(_LENGTH.pack(count) + data[at:], 0, out) - _LENGTH.size

        return read

    def _tuple(self, type_: Struct | Tuple) -> Read:
        inner = self.of_all(_items(type_))

        def read(data: bytes, at: int, out: list[Any]) -> int:
            values: list[Any] = []
            at = inner(data, at, values)
            out.append(tuple(values))
            return at

        return read

    def _list(self, item: Type, size: int | None) -> Read:
        """A list of a fixed size, or with its length before it."""
        packed = _packed(item)
        if packed is not None:
            return _packed_list(*packed, size)
        read_item = self._of(item)

        def read(data: bytes, at: int, out: list[Any]) -> int:
            count, at = (size, at) if size is not None else _count(data, at)
            values: list[Any] = []
            for done in range(count):
                before = at
                at = read_item(data, at, values)
                if at == before and done >= EMPTY_MAX:
                    raise DecodeError(f"a list of {count} values without bytes")
            out.append(values)
            return at

        return read

    def _enum(self, type_: Enum) -> Read:
        names = [variant.name for variant in type_.variants]
        bare = type_.bare
        bodies = [
            None if variant.type is None else self._tuple(variant.type)
            for variant in type_.variants
        ]

        def read(data: bytes, at: int, out: list[Any]) -> int:
            number = data[at]
            if number >= len(names):
                raise DecodeError(f"variant {number} of an enum that has {len(names)}")
            name, body = names[number], bodies[number]
            if bare or body is None:
                out.append(name)
                return at + 1
            values: list[Any] = [name]
            at = body(data, at + 1, values)
            out.append(tuple(values))
            return at

        return read


def _items(type_: Struct | Tuple) -> list[Type]:
    if isinstance(type_, Struct):
        return [each.type for each in type_.fields]
    return list(type_.items)


def _packed(item: Type) -> tuple[str, bool] | None:
    """The `struct` code of elements, and whether one is a single value."""
    code = fixed_code(item)
    if code is not None:
        return code, True
    if isinstance(item, (Struct, Tuple)) and _items(item):
        codes = [fixed_code(each) for each in _items(item)]
        if None not in codes:
            return "".join(map(str, codes)), False
    return None


def _packed_list(code: str, single: bool, size: int | None) -> Read:
    whole = struct.Struct(f"<{code}")
    width, unpack = whole.size, whole.iter_unpack

    def read(data: bytes, at: int, out: list[Any]) -> int:
        count, at = (size, at) if size is not None else _count(data, at)
        end = at + count * width
        if end > len(data) or (not width and count > EMPTY_MAX):
            raise DecodeError(f"a list of {count} values in {len(data) - at} bytes")
        if not width:
            out.append([b""] * count)
            return at
        rows = unpack(data[at:end])
        out.append([value for (value,) in rows] if single else list(rows))
        return end

    return read


def _run(codes: str) -> Read:
    whole = struct.Struct(f"<{codes}")
    size, unpack = whole.size, whole.unpack_from

    def read(data: bytes, at: int, out: list[Any]) -> int:
        out += unpack(data, at)
        return at + size

    return read


def _wide(name: str) -> Read:
    if name == "bytes":
        return _read_bytes
    signed, size = INTEGERS[name]

    def read(data: bytes, at: int, out: list[Any]) -> int:
        raw = data[at : at + size]
        if len(raw) < size:
            raise IndexError
        out.append(int.from_bytes(raw, "little", signed=signed))
        return at + size

    return read


def _read_bytes(data: bytes, at: int, out: list[Any]) -> int:
    count, at = _count(data, at)
    if at + count > len(data):
        raise IndexError
    out.append(data[at : at + count])
    return at + count


def _count(data: bytes, at: int) -> tuple[int, int]:
    """A length and the place after it; what it counts has a byte each, or none."""
    (count,) = _LENGTH.unpack_from(data, at)
    at += 4
    if count > len(data) - at and count > EMPTY_MAX:
        raise DecodeError(f"a length of {count} in {len(data) - at} bytes")
    return count, at


def _number(data: bytes, at: int, size: int) -> int:
    raw = data[at : at + size]
    if len(raw) < size:
        raise IndexError
    return int.from_bytes(raw, "little")
