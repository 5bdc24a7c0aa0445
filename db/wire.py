"""Values in Postgres's binary format, as COPY takes them.

A column of a batch is either a uint8 array of shape (facts, size), when every value has
the same size, or a list of bytes. Formats: the `*_recv` functions of Postgres's source;
for numeric, header `ndigits weight sign dscale` and base-10000 digits, all int16.
"""

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from db.declare import Address, Field, FieldKind, Int

Bytes2D = npt.NDArray[np.uint8]
Column = Bytes2D | list[bytes]

_NEGATIVE = 0x4000


def encode_value(field: Field, value: Any) -> bytes:
    """One checked Python value of a field, in binary form."""
    if field.kind is FieldKind.BYTES:
        return bytes(value)
    if field.kind is FieldKind.NUMERIC:
        return encode_numeric(value)
    if field.kind is FieldKind.BIGINT:
        return struct.pack(">q", value)
    if field.kind is FieldKind.BOOLEAN:
        return b"\x01" if value else b"\x00"
    if field.kind is FieldKind.TEXT:
        return str(value).encode()
    return b"\x01" + json.dumps(value, separators=(",", ":")).encode()


def encode_numeric(value: int) -> bytes:
    """One whole number as a numeric."""
    digits: list[int] = []
    rest = abs(value)
    while rest:
        rest, digit = divmod(rest, 10_000)
        digits.append(digit)
    sign = _NEGATIVE if value < 0 else 0
    count = len(digits)
    return struct.pack(f">4h{count}h", count, max(count - 1, 0), sign, 0, *digits[::-1])


def encode_words(field: Field, words: Bytes2D) -> Bytes2D:
    """Static ABI words, shape (facts, 32), as a column of the field.

    Raises ValueError when a word is not a value of the field's type (its padding is
    not zero, or its number does not fit), so that the caller decodes one by one.
    """
    if field.kind is FieldKind.NUMERIC:
        return numeric_column(words, signed=isinstance(field, Int))
    if field.kind is FieldKind.BIGINT:
        return _bigint_column(words, signed=isinstance(field, Int))
    if field.kind is FieldKind.BOOLEAN:
        if words[:, :31].any() or (words[:, 31] > 1).any():
            raise ValueError("a word is not a boolean")
        return np.ascontiguousarray(words[:, 31:])
    size = field.size
    if field.kind is not FieldKind.BYTES or size is None:
        raise ValueError(f"{field.describe()} is not a static type")
    if isinstance(field, Address):  # on the right of its word; bytes20 is on the left
        if words[:, :12].any():
            raise ValueError("a word is not an address")
        return words[:, 12:]
    if words[:, size:].any():
        raise ValueError(f"a word is not bytes{size}")
    return words[:, :size]


def bigint_column(values: npt.NDArray[np.int64]) -> Bytes2D:
    """64-bit integers, shape (facts,), as a column."""
    return values.astype(">i8").view(np.uint8).reshape(-1, 8)


def numeric_column(words: Bytes2D, *, signed: bool) -> Bytes2D:
    """256-bit big-endian words, shape (facts, 32), as a numeric column.

    All values get as many digits as the largest needs; numeric_recv strips the zeros.
    """
    limbs = np.ascontiguousarray(words).view(">u4").astype(np.uint64)
    negative = np.zeros(len(limbs), dtype=bool)
    if signed:
        negative = limbs[:, 0] >= 1 << 31
        if negative.any():
            limbs[negative] = _negate(limbs[negative])
    used = np.flatnonzero(limbs.any(axis=0))
    limbs = limbs[:, used[0] :] if len(used) else limbs[:, -1:]
    digits = _base_10000(limbs)
    out = np.zeros((len(limbs), 4 + digits.shape[1]), dtype=">i2")
    out[:, 0] = digits.shape[1]
    out[:, 1] = digits.shape[1] - 1
    out[:, 2] = np.where(negative, _NEGATIVE, 0)
    out[:, 4:] = digits
    return out.view(np.uint8).reshape(len(limbs), 2 * out.shape[1])


def _negate(limbs: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Two's complement of 256-bit numbers in 32-bit limbs, most significant first."""
    out = limbs ^ np.uint64(0xFFFFFFFF)
    carry = np.ones(len(out), dtype=np.uint64)
    for column in range(out.shape[1] - 1, -1, -1):
        total = out[:, column] + carry
        out[:, column] = total & np.uint64(0xFFFFFFFF)
        carry = total >> np.uint64(32)
    return out


def _base_10000(limbs: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Digits in base 10000, most significant first, by long division by 10^8."""
    limbs = limbs.copy()
    pairs: list[npt.NDArray[np.uint64]] = []
    base = np.uint64(100_000_000)
    start = 0
    while start < limbs.shape[1]:
        remainder = np.zeros(len(limbs), dtype=np.uint64)
        for column in range(start, limbs.shape[1]):
            current = (remainder << np.uint64(32)) | limbs[:, column]
            quotient = current // base
            limbs[:, column] = quotient
            remainder = current - quotient * base
        pairs.append(remainder)
        while start < limbs.shape[1] and not limbs[:, start].any():
            start += 1
    digits = np.empty((len(limbs), 2 * len(pairs)), dtype=np.int64)
    for index, pair in enumerate(reversed(pairs)):
        digits[:, 2 * index] = pair // np.uint64(10_000)
        digits[:, 2 * index + 1] = pair % np.uint64(10_000)
    return digits


def _bigint_column(words: Bytes2D, *, signed: bool) -> Bytes2D:
    high, low = words[:, :24], np.ascontiguousarray(words[:, 24:])
    negative = low[:, 0] >= 0x80
    filler = np.where(negative & signed, 0xFF, 0)[:, None]
    if (high != filler).any() or (not signed and negative.any()):
        raise ValueError("a word does not fit a bigint")
    return low
