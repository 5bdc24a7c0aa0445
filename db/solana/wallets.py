"""Token accounts of followed wallets, and what is to be read when one is found.

A wallet is one stream: the slots in which all that names the wallet, or one of its
token accounts, was read. These are stored like the children of a factory. When one is
found, the stream lacks the slots in which transactions that name the account were not
read, and those that its listing has not crossed.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import BigInteger, Connection, LargeBinary, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from db import sources
from db.control import child
from db.coverage import Stream
from db.position import MAX_HEIGHT, BlockRange

# In front of a wallet's address: the filter of its stream, and whose its accounts are.
WALLET = "wallet:"
EVERYTHING = BlockRange(0, MAX_HEIGHT)

_OPEN_AGAIN = text(
    """
    UPDATE control.coverage c SET blocks = c.blocks - lacking.slots
    FROM (
        SELECT contract, range_agg(slots) AS slots FROM (
            SELECT ch.contract, int8range(s.slot, s.slot + 1) AS slots
            FROM control.child ch JOIN control.signature s
                ON s.source = ch.source AND s.address = ch.address
            WHERE ch.source = :source AND ch.contract = ANY(:filters)
                AND (:all OR ch.address = ANY(:accounts))
                AND NOT s.written AND s.slot BETWEEN :first AND :last
            UNION ALL
            SELECT ch.contract, unnest(
                int8multirange(int8range(:first, :last, '[]'))
                - coalesce(l.slots, '{}'))
            FROM control.child ch LEFT JOIN control.listing l
                ON l.source = ch.source AND l.address = ch.address
            WHERE ch.source = :source AND ch.contract = ANY(:filters)
                AND (:all OR ch.address = ANY(:accounts))
        ) AS of_account GROUP BY contract
    ) AS lacking
    WHERE c.source = :source AND c.filter = lacking.contract
        AND c.blocks && lacking.slots
    """
).bindparams(
    bindparam("filters", type_=ARRAY(TEXT)),
    bindparam("accounts", type_=ARRAY(LargeBinary)),
    bindparam("first", type_=BigInteger),
    bindparam("last", type_=BigInteger),
)


def accounts(
    connection: Connection, source: int, filters: Collection[str]
) -> set[tuple[str, bytes]]:
    """The token accounts of wallets, each with the filter of its wallet's stream."""
    query = select(child.c.contract, child.c.address).where(
        child.c.source == source, child.c.contract.in_(filters)
    )
    return {(row.contract, bytes(row.address)) for row in connection.execute(query)}


def lock(
    connection: Connection,
    source: int,
    streams: Collection[Stream],
    found: Collection[Mapping[str, Any]],
) -> set[str]:
    """Return the filters of the wallets among streams, and of accounts just found.

    Where there are any, who writes a wallet's slots and who finds an account of it come
    one after the other until commit, so that the second sees what the first did.
    """
    filters = {each.filter for each in streams} | {row["contract"] for row in found}
    filters = {each for each in filters if each.startswith(WALLET)}
    if filters:
        take = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
        connection.execute(take, {"key": f"chainfold wallets {source}"})
    return filters


def keep(
    connection: Connection, source: int, found: Collection[Mapping[str, Any]]
) -> None:
    """Keep accounts that were found outside the range that is being written."""
    rows = [dict(row) for row in found]
    filters = lock(connection, source, (), rows)
    sources.store_children(connection, source, rows)
    open_again(connection, source, filters, found=[row["address"] for row in rows])


def open_again(
    connection: Connection,
    source: int,
    filters: Collection[str],
    within: BlockRange = EVERYTHING,
    found: Collection[bytes] | None = None,
) -> None:
    """Take back the coverage of wallets where an account of theirs was not read.

    `found` are the accounts to look at; None: all.
    """
    if filters:
        connection.execute(
            _OPEN_AGAIN,
            {
                "source": source, "filters": sorted(filters), "all": found is None,
                "accounts": sorted(found or ()),
                "first": within.first, "last": within.last,
            },
        )  # fmt: skip
