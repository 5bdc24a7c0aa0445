"""Rows of tables become dataclasses by the names of their columns."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
from sqlalchemy import text

from db.records import from_row


@dataclass(frozen=True, slots=True)
class Found:
    number: int
    digest: bytes | None
    words: tuple[str, ...]
    most: int | None = None


@pytest.fixture
def ask(db_engine):
    def ask(columns):
        with db_engine.connect() as connection:
            return connection.execute(text(f"SELECT {columns}")).one()

    return ask


def test_bytes_and_whole_numbers_are_pythons_own(ask):
    row = ask(
        r"'\x00ff07'::bytea AS digest, 7 AS other, (2::numeric ^ 255)::numeric(78,0)"
        " AS number, '{b,a}'::text[] AS words, NULL::numeric AS most"
    )
    assert isinstance(row.digest, memoryview)
    assert isinstance(row.number, Decimal)

    found = from_row(Found, row, words=tuple(row.words))

    assert found == Found(2**255, b"\x00\xff\x07", ("b", "a"))
    assert (int, bytes) == (type(found.number), type(found.digest))


def test_a_column_that_is_missing_is_a_mistake(ask):
    row = ask("1 AS number, NULL::bytea AS digest, 2 AS most")

    with pytest.raises(AttributeError, match="words"):
        from_row(Found, row)
