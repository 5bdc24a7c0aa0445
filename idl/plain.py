"""Decoded values as JSON can hold them, for fields without a column type of their own.

Integers are text, since JSON readers lose digits above 2^53; bytes are `0x…`, keys are
base58; a struct is an object, an enum with data `{"Variant": …}`, a map a list of
pairs, an absent option null; a float is a number, unless it is NaN or infinite.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from idl.base58 import to_base58
from idl.types import (
    FLOATS,
    INTEGERS,
    PUBKEY,
    Array,
    Counted,
    Enum,
    Map,
    Option,
    Primitive,
    Struct,
    Tuple,
    Type,
    Vec,
    is_bytes,
)

Plain = Callable[[Any], Any]
_key_text = lru_cache(maxsize=1 << 16)(to_base58)  # keys come again and again


def plainer(type_: Type, types: Mapping[str, Type]) -> Plain:
    """Return the function that makes JSON of the values of a type."""
    if isinstance(type_, Counted):
        return plainer(type_.item, types)
    if is_bytes(type_):
        return _hex
    if isinstance(type_, Primitive):
        return _primitive(type_)
    if isinstance(type_, Option):
        item = plainer(type_.item, types)
        return lambda value: None if value is None else item(value)
    if isinstance(type_, (Vec, Array)):
        each = plainer(type_.item, types)
        return lambda values: [each(value) for value in values]
    if isinstance(type_, Map):
        pair = plainer(Tuple((type_.key, type_.value)), types)
        return lambda values: [pair(value) for value in values]
    if isinstance(type_, Struct):
        named = [(f.name, plainer(f.type, types)) for f in type_.fields]
        return lambda values: {
            name: each(value) for (name, each), value in zip(named, values, strict=True)
        }
    if isinstance(type_, Tuple):
        items = [plainer(item, types) for item in type_.items]
        return lambda values: [
            each(value) for each, value in zip(items, values, strict=True)
        ]
    if isinstance(type_, Enum):
        return _enum(type_, types)
    # One that holds itself: made when a value is met, or it would never end.
    return lambda value: plainer(types[type_.name], types)(value)


def _primitive(type_: Primitive) -> Plain:
    if type_ == PUBKEY:
        return _key_text
    if type_.name in INTEGERS or type_.name == "string":
        return str
    if type_.name in FLOATS:
        return lambda value: value if math.isfinite(value) else str(value)
    return lambda value: value


def _enum(type_: Enum, types: Mapping[str, Type]) -> Plain:
    bodies = {
        variant.name: plainer(variant.type, types)
        for variant in type_.variants
        if variant.type is not None
    }

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value
        name, values = value
        return {name: bodies[name](values)}

    return plain


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
