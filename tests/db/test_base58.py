"""The base58 that Postgres writes is the one that others read."""

import random

import based58
from sqlalchemy import text

from db.declare.fields import Encoding

# The test vectors of the Internet-Draft "The Base58 Encoding Scheme", section 5, and
# the address of Solana's system program.
VECTORS = {
    b"Hello World!": "2NEpo7TZRRrLZSi2U",
    b"The quick brown fox jumps over the lazy dog.": (
        "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"
    ),
    bytes.fromhex("0000287fb4cd"): "11233QC4",
    bytes(32): "1" * 32,
    b"": "",
}


def test_vectors_that_others_published(migrated_engine):
    with migrated_engine.connect() as connection:
        for value, expected in VECTORS.items():
            found = connection.scalar(text("SELECT control.base58(:v)"), {"v": value})

            assert found == expected
            assert Encoding.BASE58.text(value) == expected


def test_any_bytes_are_written_as_a_library_writes_them(migrated_engine):
    dice = random.Random(58)
    values = [
        bytes(dice.randrange(4)) + dice.randbytes(dice.randrange(80))
        for _ in range(2000)
    ]
    query = text("SELECT control.base58(v) FROM unnest(cast(:v AS bytea[])) v")
    with migrated_engine.connect() as connection:
        found = connection.scalars(query, {"v": values}).all()

    assert found == [based58.b58encode(value).decode() for value in values]
