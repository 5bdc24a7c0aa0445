"""Values to bytes by a layout: Borsh (borsh.io), the other way of `idl.codec`.

    body = encode(layout.fields, values, idl.types)      values by the fields' names

A value may have Python's form, as `idl.codec` gives it, or that of JSON, as `idl.plain`
writes it: an integer as a number or as a decimal text, bytes as bytes or `0x…`, a key
as 32 bytes or base58, a struct as an object or in order, an enum as the name of a
variant or as `{"Variant": …}`. What does not fit is an `EncodeError` that says where.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from idl.base58 import from_base58
from idl.types import (
    FLOATS,
    INTEGERS,
    PUBKEY,
    Array,
    Counted,
    Enum,
    FieldLayout,
    Map,
    NamedType,
    Option,
    Primitive,
    Struct,
    Tuple,
    Type,
    Vec,
    is_bytes,
)

DEPTH_MAX = 32  # of values in values
NOT_FINITE = ("inf", "-inf", "nan")  # JSON has no numbers for them
ELEMENTS_MAX = 10_000  # of a list: no transaction holds so many


class EncodeError(ValueError):
    """A value that a layout does not take."""


def encode(
    fields: Sequence[FieldLayout],
    values: Mapping[str, Any],
    types: Mapping[str, Type],
) -> bytes:
    """Return the fields' values, one after the other.

    Raises EncodeError for a value that is missing, too large or of another type.
    """
    return _Writer(types).struct(Struct(tuple(fields)), values, "", 0)


class _Writer:
    def __init__(self, types: Mapping[str, Type]) -> None:
        self._types = types

    def write(self, type_: Type, value: Any, at: str, depth: int) -> bytes:
        """Return one value; `at` says where it stands."""
        if depth > DEPTH_MAX:
            raise EncodeError(f"{at}: it nests too deeply")
        below = depth + 1
        if isinstance(type_, NamedType):
            return self.write(self._types[type_.name], value, at, below)
        if is_bytes(type_):
            return _bytes(type_, value, at)
        if isinstance(type_, Primitive):
            return _primitive(type_, value, at)
        if isinstance(type_, Option):
            return self.option(type_, value, at, below)
        if isinstance(type_, Vec | Array):
            return self.list(type_, value, at, below)
        if isinstance(type_, Counted):
            raw = self.write(type_.item, value, at, below)
            return raw[:4].ljust(type_.size, b"\0")[: type_.size] + raw[4:]
        if isinstance(type_, Map):
            pair = Tuple((type_.key, type_.value))
            return self.list(Vec(pair), _pairs(value), at, below)
        if isinstance(type_, Struct):
            return self.struct(type_, value, at, below)
        if isinstance(type_, Tuple):
            return self.tuple(type_, value, at, below)
        return self.enum(type_, value, at, below)

    def option(self, type_: Option, value: Any, at: str, depth: int) -> bytes:
        """One byte, or four, that say whether the value is there, and the value."""
        tag = "<I" if type_.c_option else "<B"
        if value is not None:
            return struct.pack(tag, 1) + self.write(type_.item, value, at, depth)
        if type_.c_option:
            raise EncodeError(f"{at}: it cannot be left out")
        return struct.pack(tag, 0)

    def list(self, type_: Vec | Array, value: Any, at: str, depth: int) -> bytes:
        """The elements, behind their number unless that is fixed."""
        items = _items(value, at)
        if isinstance(type_, Array) and len(items) != type_.size:
            raise EncodeError(f"{at}: it has {len(items)} elements, not {type_.size}")
        if len(items) > ELEMENTS_MAX:
            raise EncodeError(f"{at}: it has more than {ELEMENTS_MAX} elements")
        count = b"" if isinstance(type_, Array) else struct.pack("<I", len(items))
        return count + b"".join(
            self.write(type_.item, each, f"{at}[{number}]", depth)
            for number, each in enumerate(items)
        )

    def struct(self, type_: Struct, value: Any, at: str, depth: int) -> bytes:
        """The fields in order, given by name or in order."""
        names = [field.name for field in type_.fields]
        if not isinstance(value, Mapping):
            value = dict(zip(names, _exactly(value, len(names), at), strict=True))
        if unknown := value.keys() - set(names):
            raise EncodeError(f"{_in(at)}there is no {', '.join(sorted(unknown))}")
        if missing := [name for name in names if name not in value]:
            raise EncodeError(f"{_in(at)}{', '.join(missing)} is missing")
        return b"".join(
            self.write(
                field.type,
                value[field.name],
                f"{at}.{field.name}" if at else field.name,
                depth,
            )
            for field in type_.fields
        )

    def tuple(self, type_: Tuple, value: Any, at: str, depth: int) -> bytes:
        """The values in order."""
        given = _exactly(value, len(type_.items), at)
        return b"".join(
            self.write(item, each, f"{at}[{number}]", depth)
            for number, (item, each) in enumerate(zip(type_.items, given, strict=True))
        )

    def enum(self, type_: Enum, value: Any, at: str, depth: int) -> bytes:
        """The number of the variant in one byte, and what it carries."""
        name, body = _variant(value, at)
        for number, variant in enumerate(type_.variants):
            if variant.name == name:
                if variant.type is None:
                    return bytes([number])
                return bytes([number]) + self.write(variant.type, body, at, depth)
        known = ", ".join(variant.name for variant in type_.variants)
        raise EncodeError(f"{at}: {name!r} is none of {known}")


def _primitive(type_: Primitive, value: Any, at: str) -> bytes:
    if type_ == PUBKEY:
        return _key(value, at)
    if type_.name in INTEGERS:
        signed, size = INTEGERS[type_.name]
        number = _integer(value, at)
        try:
            return number.to_bytes(size, "little", signed=signed)
        except OverflowError:
            raise EncodeError(f"{at}: {number} is beyond {type_.name}") from None
    if type_.name in FLOATS:
        if isinstance(value, str) and value in NOT_FINITE:
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise EncodeError(f"{at}: expected a number")
        try:
            return struct.pack("<f" if type_.name == "f32" else "<d", value)
        except (OverflowError, struct.error):
            raise EncodeError(f"{at}: it is beyond {type_.name}") from None
    if type_.name == "bool":
        if not isinstance(value, bool):
            raise EncodeError(f"{at}: expected true or false")
        return bytes([value])
    if not isinstance(value, str):
        raise EncodeError(f"{at}: expected text")
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{at}: it has half of a surrogate pair") from None
    return struct.pack("<I", len(raw)) + raw


def _integer(value: Any, at: str) -> int:
    if isinstance(value, str) and value.removeprefix("-").isascii():
        digits = value.removeprefix("-")
        if digits.isdecimal() and len(digits) <= 80:
            return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise EncodeError(f"{at}: expected an integer, or one as text")
    return value


def _key(value: Any, at: str) -> bytes:
    try:
        raw = from_base58(value, 32) if isinstance(value, str) else value
    except ValueError as error:
        raise EncodeError(f"{at}: {error}") from None
    if not isinstance(raw, bytes) or len(raw) != 32:
        raise EncodeError(f"{at}: expected a key: 32 bytes in base58")
    return raw


def _bytes(type_: Type, value: Any, at: str) -> bytes:
    raw = value
    if isinstance(value, str):
        try:
            raw = bytes.fromhex(value.removeprefix("0x"))
        except ValueError:
            raise EncodeError(f"{at}: expected bytes as 0x…") from None
    if isinstance(value, list | tuple):
        try:
            raw = bytes(value)
        except (TypeError, ValueError):
            raise EncodeError(f"{at}: expected numbers from 0 to 255") from None
    if not isinstance(raw, bytes):
        raise EncodeError(f"{at}: expected bytes as 0x…")
    if isinstance(type_, Array):
        if len(raw) != type_.size:
            raise EncodeError(f"{at}: it has {len(raw)} bytes, not {type_.size}")
        return raw
    return struct.pack("<I", len(raw)) + raw


def _items(value: Any, at: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise EncodeError(f"{at}: expected a list")
    return value


def _exactly(value: Any, count: int, at: str) -> Sequence[Any]:
    items = _items(value, at)
    if len(items) != count:
        raise EncodeError(f"{_in(at)}{len(items)} values, and {count} are expected")
    return items


def _pairs(value: Any) -> Any:
    return list(value.items()) if isinstance(value, Mapping) else value


def _variant(value: Any, at: str) -> tuple[str, Any]:
    """The name of a variant, and what it carries."""
    if isinstance(value, str):
        return value, ()
    if isinstance(value, Mapping) and len(value) == 1:
        [(name, body)] = value.items()
        return str(name), body
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return value[0], value[1]
    raise EncodeError(f'{at}: expected a variant\'s name, or {{"Variant": …}}')


def _in(at: str) -> str:
    return f"{at}: " if at else ""
