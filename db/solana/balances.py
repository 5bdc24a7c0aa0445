"""Balances of token accounts as their movements add up to them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, LargeBinary, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from db.declare import TokenMoved
from db.position import height_of, position


@dataclass(frozen=True, slots=True)
class Folded:
    """The movements of an account: their sum, and what it held before the first.

    Both are in the token's smallest unit. `fits_to` is the slot of the last movement up
    to which each begins with the balance that the one before it left.
    """

    total: int
    opening: int
    fits_to: int


_FOLDED = text(
    f"""
    WITH moved AS (
        SELECT a.account, f.position, f.amount, f.balance - f.amount AS before,
            lag(f.balance) OVER accounts AS left_by_last,
            lag(f.position) OVER accounts AS last
        FROM unnest(:accounts, :firsts) AS a(account, first)
        JOIN facts.{TokenMoved.spec.table} f ON f.account = a.account
            AND f.position >= a.first AND f.position < :end AND f.source = :source
        WINDOW accounts AS (PARTITION BY a.account ORDER BY f.position)
    )
    SELECT account, sum(amount) AS total,
        (min(ARRAY[position, before]))[2] AS opening,
        coalesce(min(last) FILTER (WHERE before <> left_by_last), max(position)) AS fits
    FROM moved GROUP BY account
    """  # noqa: S608 (the name of a table)
).bindparams(
    bindparam("accounts", type_=ARRAY(LargeBinary)),
    bindparam("firsts", type_=ARRAY(BigInteger)),
)


def folded(
    connection: Connection, source: int, starts: Mapping[bytes, int], slot: int
) -> dict[bytes, Folded]:
    """Add up the movements of accounts, each from its first slot to the end of `slot`.

    Accounts of which nothing moved are left out.
    """
    rows = connection.execute(
        _FOLDED,
        {
            "source": source, "end": position(slot + 1, 0), "accounts": list(starts),
            "firsts": [position(start, 0) for start in starts.values()],
        },
    )  # fmt: skip
    return {
        bytes(row.account): Folded(
            int(row.total), int(row.opening), height_of(row.fits)
        )
        for row in rows
    }
