"""Event ABIs: the position of each parameter in a log, and checks of its words.

A log has up to four topics (the event's hash, then its indexed parameters) and data
(the other parameters as one ABI tuple). Contracts check little of what they emit, so a
value is kept where it can be read in one way: text that is not UTF-8 with U+FFFD in the
place of each bad byte, a word with bits beyond its type as Solidity reads it, without
them. What was mended is noted. Padding behind strings and bytes may be absent, and
bytes after the last value are ignored, as by eth_abi when it is not strict. Offsets
must point behind the head and inside the data.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from eth_abi.abi import decode
from eth_abi.codec import ABIDecoder
from eth_abi.decoding import StringDecoder
from eth_abi.exceptions import DecodingError
from eth_abi.grammar import ABIType, TupleType, parse
from eth_abi.registry import registry
from eth_hash.auto import keccak

from db.declare import DeclarationError
from db.declare.evm.signatures import canonical_type, signature
from db.declare.evm.types import is_reference_type
from db.wire import Bytes2D


class AbiDecodeError(ValueError):
    """A log does not fit its ABI; the message names the position."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; `slot` is its topic, or its place among those in the data."""

    name: str
    abi: Mapping[str, Any]
    type: str  # canonical, tuples written out
    indexed: bool
    slot: int

    @property
    def elementary(self) -> bool:
        """Whether its value is one word in the log and is not a hash."""
        return not is_reference_type(str(self.abi["type"]))


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one event in a log.

    `fixed`: each non-indexed parameter is one word; `sliced`: or string or bytes.
    """

    signature: str
    topic0: bytes
    params: tuple[Param, ...]
    indexed: tuple[Param, ...]
    body: tuple[Param, ...]
    fixed: bool
    sliced: bool

    @property
    def topics(self) -> int:
        """The number of topics of its logs."""
        return len(self.indexed) + 1

    def param(self, name: str) -> Param:
        """The parameter with this name."""
        return next(param for param in reversed(self.params) if param.name == name)


def layout_of(abi: Mapping[str, Any]) -> Layout:
    """The layout of an event; raises DeclarationError for an anonymous one."""
    if abi.get("anonymous"):
        raise DeclarationError(
            signature(abi),
            "the event is anonymous, so its logs cannot be told from others",
            "declare it without `anonymous` in the contract, or leave it out",
        )
    params: list[Param] = []
    for item in abi["inputs"]:
        _refuse_unknown(abi, canonical_type(item))
    topic, word = 1, 0
    for item in abi["inputs"]:
        indexed = bool(item["indexed"])
        slot = topic if indexed else word
        topic, word = topic + indexed, word + (not indexed)
        params.append(Param(item["name"], item, canonical_type(item), indexed, slot))
    body = tuple(param for param in params if not param.indexed)
    text = signature(abi)
    return Layout(
        text,
        keccak(text.encode()),
        tuple(params),
        tuple(param for param in params if param.indexed),
        body,
        fixed=all(p.elementary for p in body),
        sliced=all(p.elementary or p.type in ("string", "bytes") for p in body),
    )


def head_offset(layout: Layout, param: Param) -> int:
    """Return the offset in bytes of a non-indexed parameter's head in the data."""
    return 32 * sum(_head_words(parse(each.type)) for each in layout.body[: param.slot])


def _head_words(kind: ABIType) -> int:
    if kind.is_dynamic:
        return 1
    if kind.is_array:
        return int(kind.arrlist[-1][0]) * _head_words(kind.item_type)
    if isinstance(kind, TupleType):
        return sum(_head_words(part) for part in kind.components)
    return 1


def _refuse_unknown(abi: Mapping[str, Any], text: str) -> None:
    for kind in re.split(r"[(),]", re.sub(r"\[\d*\]", "", text)):
        if kind and not re.fullmatch(
            r"u?int\d+|bytes\d*|address|bool|function|string", kind
        ):
            raise DeclarationError(
                signature(abi),
                f"the type {kind} is not known",
                "leave the event out, or teach indexer.evm.abi the type",
            )


def valid_words(abi_type: str, words: Bytes2D) -> bool:
    """Whether all words, shape (n, 32), are values of an elementary type."""
    if match := re.fullmatch(r"(u?)int(\d+)", abi_type):
        pad = 32 - int(match[2]) // 8
        if match[1] or not pad:
            return not words[:, :pad].any()
        sign = np.where(words[:, pad] >= 0x80, 0xFF, 0)[:, None]
        return bool((words[:, :pad] == sign).all())
    if abi_type == "address":
        return not words[:, :12].any()
    if abi_type == "bool":
        return not words[:, :31].any() and bool((words[:, 31] <= 1).all())
    size = 24 if abi_type == "function" else int(abi_type.removeprefix("bytes"))
    return not words[:, size:].any()


def mended_words(abi_type: str, words: Bytes2D) -> Bytes2D:
    """Words of an elementary type, shape (n, 32), without bits beyond the type.

    As Solidity reads them: the low bits of numbers and addresses (with the sign of the
    highest that counts), the high bytes of bytesN, true for any bool but zero.
    """
    mended = words.copy()
    if match := re.fullmatch(r"(u?)int(\d+)", abi_type):
        pad = 32 - int(match[2]) // 8
        if pad:
            sign = np.where(words[:, pad] >= 0x80, 0xFF, 0)[:, None]
            mended[:, :pad] = 0 if match[1] else sign
    elif abi_type == "address":
        mended[:, :12] = 0
    elif abi_type == "bool":
        mended[:, :31] = 0
        mended[:, 31] = words.any(axis=1)
    else:
        size = 24 if abi_type == "function" else int(abi_type.removeprefix("bytes"))
        mended[:, size:] = 0
    return mended


def decode_topic(param: Param, word: bytes, notes: list[str]) -> Any:
    """The value of one indexed parameter; the hash itself for dynamic types.

    What had to be mended is added to `notes`.
    """
    return _elementary(param, word, notes) if param.elementary else word


def decode_body(layout: Layout, data: bytes, notes: list[str]) -> Sequence[Any]:
    """The values of the non-indexed parameters, in order; raises AbiDecodeError.

    What had to be mended is added to `notes`.
    """
    if layout.sliced:
        return _slice_body(layout, data, notes)
    types = [param.type for param in layout.body]
    try:
        return decode(types, data, strict=False)
    except UnicodeDecodeError as error:
        notes.append(f"data: {error}")
    except (DecodingError, ValueError, OverflowError, MemoryError) as error:
        raise AbiDecodeError(f"data: {error}") from None
    try:
        values: Sequence[Any] = _LENIENT.decode(types, data, strict=False)
    except (DecodingError, ValueError, OverflowError, MemoryError) as error:
        raise AbiDecodeError(f"data: {error}") from None
    return values


def _lenient() -> ABIDecoder:
    """A decoder that puts U+FFFD in the place of bytes that are not UTF-8."""
    own = registry.copy()  # type: ignore[no-untyped-call]
    own.unregister_decoder("string")
    replacing = StringDecoder("replace")  # type: ignore[no-untyped-call]
    own.register_decoder("string", replacing)
    return ABIDecoder(own)


_LENIENT = _lenient()


def _slice_body(layout: Layout, data: bytes, notes: list[str]) -> Sequence[Any]:
    """As eth_abi decodes it, for one-word values and top-level strings and bytes."""
    head = 32 * len(layout.body)
    if len(data) < head:
        raise AbiDecodeError(f"data: {len(data)} bytes, the head alone has {head}")
    values: list[Any] = []
    for param in layout.body:
        word = data[32 * param.slot : 32 * param.slot + 32]
        if param.elementary:
            values.append(_elementary(param, word, notes))
            continue
        raw = _tail(param, data, int.from_bytes(word), head)
        if param.type == "bytes":
            values.append(raw)
            continue
        try:
            values.append(raw.decode())
        except UnicodeDecodeError as error:
            notes.append(f"{param.name} (string): {error}")
            values.append(raw.decode(errors="replace"))
    return values


def _tail(param: Param, data: bytes, offset: int, head: int) -> bytes:
    """The bytes of a string or bytes value at an offset."""
    if not head <= offset < len(data):
        raise AbiDecodeError(f"{param.name} ({param.type}): it points to {offset}")
    if offset + 32 > len(data):
        raise AbiDecodeError(f"{param.name} ({param.type}): its length is cut off")
    size = int.from_bytes(data[offset : offset + 32])
    start = offset + 32
    if start + size > len(data):
        raise AbiDecodeError(f"{param.name} ({param.type}): {size} bytes are not there")
    return data[start : start + size]


def _elementary(param: Param, word: bytes, notes: list[str]) -> Any:
    """One word as a value, in the form eth_abi gives it."""
    words = np.frombuffer(word, np.uint8).reshape(1, 32)
    if not valid_words(param.type, words):
        notes.append(f"{param.name} ({param.type}): it has bits beyond its type")
        word = mended_words(param.type, words).tobytes()
    kind = param.type
    number = int.from_bytes(word)
    if kind == "address":
        return "0x" + word[12:].hex()
    if kind == "bool":
        return number == 1
    if kind.startswith("uint"):
        return number
    if kind.startswith("int"):
        return int.from_bytes(word, signed=True)
    return word[: 24 if kind == "function" else int(kind[5:])]


def plain(abi: Mapping[str, Any], value: Any) -> Any:
    """A value as JSON holds it, for the field `Json`.

    Integers are decimal strings, bytes `0x…`, structs objects by the names of their
    components (by their index where they have none). NUL, which jsonb cannot hold,
    becomes U+FFFD.
    """
    kind = str(abi["type"])
    if kind.endswith("]"):
        item = {**abi, "type": kind[: kind.rindex("[")]}
        return [plain(item, part) for part in value]
    if kind.startswith("tuple"):
        parts = zip(abi["components"], value, strict=True)
        return {
            part["name"] or str(at): plain(part, inner)
            for at, (part, inner) in enumerate(parts)
        }
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    return value if isinstance(value, bool) else str(value)
