"""Binary columns against a decoder of Postgres's formats, and against Postgres."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.declare import Address, Blob, Bool, Bytes32, FixedBytes, Int, Json, Text, Uint
from db.wire import (
    bigint_column,
    encode_numeric,
    encode_value,
    encode_words,
    numeric_column,
)
from helpers.servers import plain

EXTREMES = [
    0,
    1,
    2**31,
    2**32 - 1,
    2**32,
    2**63,
    2**64 - 1,
    2**128,
    2**255 - 1,
    *(10**k + d for k in range(77) for d in (-1, 0, 1)),
    *(9999 * 10**k for k in range(0, 72, 4)),
]
UNSIGNED = [*EXTREMES, 2**255, 2**256 - 1]
SIGNED = [*EXTREMES, *(-value for value in EXTREMES), -(2**255), 1 - 2**255]


def numeric(raw: bytes) -> int:
    """What numeric_recv makes of it, for whole numbers."""
    count, weight, sign, scale = struct.unpack(">hhHh", raw[:8])
    digits = struct.unpack(f">{count}h", raw[8:])
    assert scale == 0
    assert sign in (0, 0x4000)
    assert all(0 <= digit < 10_000 for digit in digits)
    value = sum(d * 10_000 ** (weight - at) for at, d in enumerate(digits))
    return -value if sign else value


def words(values: list[int]) -> np.ndarray:
    raw = b"".join((value % 2**256).to_bytes(32) for value in values)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)


def rows(column: np.ndarray) -> list[bytes]:
    return [bytes(row) for row in column]


@pytest.mark.parametrize(
    ("values", "signed"), [(UNSIGNED, False), (SIGNED, True)], ids=["uint", "int"]
)
def test_numbers_at_the_edges_are_exact_together_and_alone(values, signed):
    together = [
        numeric(row) for row in rows(numeric_column(words(values), signed=signed))
    ]
    alone = [
        numeric(rows(numeric_column(words([value]), signed=signed))[0])
        for value in values
    ]

    assert values == together
    assert values == alone
    assert values == [numeric(encode_numeric(value)) for value in values]


@given(st.lists(st.integers(-(2**255), 2**255 - 1), min_size=1, max_size=30))
def test_any_signed_numbers_are_exact(values):
    column = numeric_column(words(values), signed=True)

    assert values == [numeric(row) for row in rows(column)]


@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=30))
def test_any_unsigned_numbers_are_exact(values):
    column = numeric_column(words(values), signed=False)

    assert values == [numeric(row) for row in rows(column)]


def test_no_values_make_an_empty_column():
    assert len(numeric_column(words([]), signed=False)) == 0
    assert len(encode_words(Uint(), words([]))) == 0
    assert len(encode_words(Address(), words([]))) == 0
    assert len(encode_words(Uint(63), words([]))) == 0


def test_words_that_are_not_of_the_type_are_refused():
    for field, bad in [
        (Address(), 2**160),
        (Bool(), 2),
        (Bool(), 2**255),
        (FixedBytes(4), 1),
        (Uint(63), 2**63),
        (Uint(63), 2**255),
        (Int(64), 2**63),
        (Int(64), -(2**63) - 1),
    ]:
        with pytest.raises(ValueError, match="word"):
            encode_words(field, words([0, bad]))


def test_twenty_bytes_are_on_the_left_and_an_address_on_the_right():
    left = words([int.from_bytes(b"\x07" * 20 + bytes(12))])
    right = words([int.from_bytes(b"\x07" * 20)])

    assert rows(encode_words(FixedBytes(20), left)) == [b"\x07" * 20]
    assert rows(encode_words(Address(), right)) == [b"\x07" * 20]
    with pytest.raises(ValueError, match="address"):
        encode_words(Address(), left)
    with pytest.raises(ValueError, match="bytes20"):
        encode_words(FixedBytes(20), right)


def test_small_integers_are_bigints():
    values = [0, 1, 2**63 - 1]
    signed = [*values, -1, -(2**63)]

    assert [struct.pack(">q", v) for v in values] == rows(
        encode_words(Uint(63), words(values))
    )
    assert [struct.pack(">q", v) for v in signed] == rows(
        encode_words(Int(64), words(signed))
    )
    assert [struct.pack(">q", v) for v in signed] == rows(
        bigint_column(np.array(signed, dtype=np.int64))
    )


def test_postgres_reads_back_what_was_written(database_url):
    """A real COPY, in binary, of every kind and of numbers at the edges."""
    named = {
        "a": (Uint(), UNSIGNED[: len(SIGNED)] * 3),
        "b": (Int(), SIGNED),
        "c": (Int(64), [-(2**63), 2**63 - 1, 0, -1] * len(SIGNED)),
        "d": (Bool(), [True, False] * len(SIGNED)),
        "e": (Address(), [b"\xff" * 20, b"\0" * 20] * len(SIGNED)),
        "f": (Bytes32(), [b"\x0a" * 32, b"\\" * 32] * len(SIGNED)),
    }
    count = len(SIGNED)
    columns = {}
    for name, (field, values) in named.items():
        columns[name] = rows(encode_words(field, as_words(field, values[:count])))
    texts = ["", "é\n\t\\", "\N{PILE OF POO}"]
    columns["g"] = [encode_value(Text(), texts[i % 3]) for i in range(count)]
    columns["h"] = [encode_value(Blob(), b"\0\xff" * (i % 5)) for i in range(count)]
    tree = {"amount": "1" * 78, "é": ["0x00", True, None]}
    columns["i"] = [encode_value(Json(), tree) for _ in range(count)]

    with psycopg2.connect(plain(database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "create temporary table t (a numeric(78,0), b numeric(78,0), c bigint, "
            "d boolean, e bytea, f bytea, g text, h bytea, i jsonb, n serial)"
        )
        cursor.copy_expert(
            "copy t (a,b,c,d,e,f,g,h,i) from stdin with (format binary)",
            copy_stream(list(columns.values())),
        )
        cursor.execute(
            "select a::text, b::text, c, d, e, f, g, h, i::text from t order by n"
        )
        found = cursor.fetchall()

    assert count == len(found)
    for at, row in enumerate(found):
        a, b, c, d, e, f, g, h, i = row
        assert (named["a"][1][at], named["b"][1][at]) == (int(a), int(b))
        assert (named["c"][1][at], named["d"][1][at]) == (c, d)
        assert (named["e"][1][at], named["f"][1][at]) == (bytes(e), bytes(f))
        assert (texts[at % 3], b"\0\xff" * (at % 5)) == (g, bytes(h))
        assert tree == json.loads(i)


def as_words(field, values) -> np.ndarray:
    if isinstance(field, Address):
        return words([int.from_bytes(value) for value in values])
    if isinstance(field, FixedBytes):
        return words([int.from_bytes(value.ljust(32, b"\0")) for value in values])
    return words([int(value) for value in values])


def copy_stream(columns: list[list[bytes]]) -> io.BytesIO:
    out = io.BytesIO()
    out.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
    for row in zip(*columns, strict=True):
        out.write(struct.pack(">h", len(row)))
        for value in row:
            out.write(struct.pack(">i", len(value)) + value)
    out.write(struct.pack(">h", -1))
    out.seek(0)
    return out
