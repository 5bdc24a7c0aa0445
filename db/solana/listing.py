"""The listing of signatures: which transactions name an address, and up to where.

A signature is listed when an endpoint has named it, written when what it did is in the
database, and final when it cannot be undone. Slots count as listed when a walk crossed
them whole. A signature that turns up in a slot that was read already opens that slot
again: its coverage is taken back, and it is read once more. An address is read for
itself, as a wallet, or as a token account of one (`db.solana.wallets`).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Engine,
    LargeBinary,
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.engine import ask_or_end
from db.position import BlockRange


@contextmanager
def alone(engine: Engine, source: int, address: bytes) -> Iterator[bool]:
    """Hold an address of a listing against other processes; whether that was given.

    Postgres takes it back when the process dies, and when taking it or giving it back
    fails.
    """
    binds = {"key": f"chainfold listing {source} {address.hex()}"}
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        given = bool(ask_or_end(connection, _TAKE, binds))
        try:
            yield given
        finally:
            if given:
                ask_or_end(connection, _GIVE_BACK, binds)


_TAKE = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
_GIVE_BACK = text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing."""

    slot: int
    signature: bytes
    final: bool


_ROWS = (
    bindparam("all_slots", type_=ARRAY(BigInteger)),
    bindparam("signatures", type_=ARRAY(LargeBinary)),
)
_STORE = text(
    """
    WITH added AS (
        INSERT INTO control.signature (source, address, slot, signature, final)
        SELECT :source, :address, * FROM unnest(:all_slots, :signatures, :finals)
        ON CONFLICT DO NOTHING RETURNING slot
    )
    SELECT DISTINCT slot FROM added
    """
).bindparams(*_ROWS, bindparam("finals", type_=ARRAY(Boolean)))
_CROSS = text(
    """
    INSERT INTO control.listing
    VALUES (:source, :address, int8multirange(int8range(:first, :last, '[]')))
    ON CONFLICT (source, address)
    DO UPDATE SET slots = control.listing.slots + excluded.slots
    """
)
_REOPEN = text(
    """
    UPDATE control.coverage c
    SET blocks = c.blocks - (
        SELECT range_agg(int8range(s, s + 1)) FROM unnest(:all_slots) AS s)
    WHERE c.source = :source AND c.filter IN (
            SELECT control.base58(:address)
            UNION ALL SELECT 'wallet:' || control.base58(:address)
            UNION ALL SELECT contract FROM control.child
                WHERE source = :source AND address = :address)
        AND EXISTS (SELECT FROM unnest(:all_slots) AS s WHERE c.blocks @> s)
    """
).bindparams(_ROWS[0], bindparam("address", type_=LargeBinary))
_OPEN = text(
    """
    WITH late AS (
        SELECT DISTINCT address, slot FROM control.signature
        WHERE source = :source AND NOT written AND slot >= :first
    ), named AS (SELECT DISTINCT address FROM late), read_for AS (
        SELECT address, control.base58(address) AS filter FROM named
        UNION ALL SELECT address, 'wallet:' || control.base58(address) FROM named
        UNION ALL SELECT address, contract FROM control.child
            JOIN named USING (address) WHERE source = :source
    )
    SELECT DISTINCT late.address, late.slot FROM late JOIN read_for USING (address)
    JOIN control.coverage c ON c.source = :source AND c.filter = read_for.filter
        AND c.blocks @> late.slot
    """
)
_MISSING = text(
    """
    SELECT lower(r), upper(r) - 1 FROM unnest(
        int8multirange(int8range(:first, :last, '[]')) - coalesce((
            SELECT slots FROM control.listing
            WHERE source = :source AND address = :address), '{}')
    ) AS r ORDER BY 1
    """
)


def missing(
    connection: Connection, source: int, address: bytes, within: BlockRange
) -> list[BlockRange]:
    """The slots that no walk has crossed yet, lowest first."""
    binds = {"source": source, "address": address}
    binds |= {"first": within.first, "last": within.last}
    return [BlockRange(*row) for row in connection.execute(_MISSING, binds)]


def store(
    connection: Connection,
    source: int,
    address: bytes,
    found: Sequence[Listed],
    crossed: BlockRange | None,
) -> None:
    """Keep lines of a listing, and which slots they have crossed whole."""
    binds = {"source": source, "address": address}
    if found:
        lines = {
            "all_slots": [each.slot for each in found],
            "signatures": [each.signature for each in found],
            "finals": [each.final for each in found],
        }
        added = list(connection.execute(_STORE, binds | lines).scalars())
        if added:
            connection.execute(_REOPEN, binds | {"all_slots": added})
    if crossed is not None:
        slots = {"first": crossed.first, "last": crossed.last}
        connection.execute(_CROSS, binds | slots)


def reopen(connection: Connection, source: int, first: int) -> None:
    """Have slots from `first` on read again that hold a signature not written."""
    late: dict[bytes, list[int]] = {}
    for address, slot in connection.execute(_OPEN, {"source": source, "first": first}):
        late.setdefault(bytes(address), []).append(slot)
    for address, slots in late.items():
        binds = {"source": source, "address": address, "all_slots": slots}
        connection.execute(_REOPEN, binds)


def listed(
    connection: Connection, source: int, address: bytes, within: BlockRange
) -> list[Listed]:
    """The lines of an address in some slots."""
    rows = connection.execute(
        text(
            "SELECT slot, signature, final FROM control.signature WHERE source ="
            " :source AND address = :address AND slot BETWEEN :first AND :last"
            " ORDER BY slot, signature"
        ),
        {
            "source": source, "address": address,
            "first": within.first, "last": within.last,
        },
    )  # fmt: skip
    return [Listed(row.slot, bytes(row.signature), row.final) for row in rows]


def nearest(
    connection: Connection, source: int, address: bytes, slot: int, *, above: bool
) -> Listed | None:
    """The line nearest to a slot, above or below it, not in it."""
    sign, order = (">", "ASC") if above else ("<", "DESC")
    row = connection.execute(
        text(
            "SELECT slot, signature, final FROM control.signature"  # noqa: S608
            f" WHERE source = :source AND address = :address AND slot {sign} :slot"
            f" ORDER BY slot {order} LIMIT 1"
        ),
        {"source": source, "address": address, "slot": slot},
    ).first()
    return None if row is None else Listed(row.slot, bytes(row.signature), row.final)


def mark_written(
    connection: Connection,
    source: int,
    blocks: BlockRange,
    pairs: Collection[tuple[bytes, bytes]],
) -> None:
    """Record that transactions were read for addresses, given as pairs of both."""
    by_address: dict[bytes, list[bytes]] = {}
    for address, signature in pairs:
        by_address.setdefault(address, []).append(signature)
    for address in sorted(by_address):
        connection.execute(
            text(
                "UPDATE control.signature SET written = true WHERE source = :source"
                " AND address = :address AND slot BETWEEN :first AND :last"
                " AND signature = ANY(:signatures) AND NOT written"
            ).bindparams(_ROWS[1]),
            {
                "source": source, "address": address, "first": blocks.first,
                "last": blocks.last, "signatures": by_address[address],
            },
        )  # fmt: skip


def forget_unknown(
    connection: Connection, source: int, blocks: BlockRange, programs: Collection[bytes]
) -> None:
    """Forget the bytes of some programs that no event explains, to be judged again.

    Those are stored under the program's name alone. An IDL may know them by now.
    """
    connection.execute(
        text(
            "DELETE FROM control.undecodable_log WHERE source = :source"
            " AND position BETWEEN :first AND :last AND emitter = ANY(:programs)"
            " AND event NOT LIKE '%.%'"
        ).bindparams(bindparam("programs", type_=ARRAY(LargeBinary))),
        {
            "source": source, "first": blocks.lowest, "last": blocks.highest,
            "programs": sorted(programs),
        },
    )  # fmt: skip


def provisional(
    connection: Connection, source: int, until: int
) -> list[tuple[int, bytes, bool]]:
    """Slot, signature and whether it is written, of what may be undone up to a slot."""
    rows = connection.execute(
        text(
            "SELECT slot, signature, bool_or(written) AS written"
            " FROM control.signature WHERE source = :source AND NOT final"
            " AND slot <= :until GROUP BY slot, signature ORDER BY slot, signature"
        ),
        {"source": source, "until": until},
    )
    return [(row.slot, bytes(row.signature), row.written) for row in rows]


def mark_final(connection: Connection, source: int, found: Sequence[Listed]) -> None:
    """Record that transactions cannot be undone any more."""
    connection.execute(
        text(
            "UPDATE control.signature s SET final = true"
            " FROM unnest(:all_slots, :signatures) AS f(slot, signature)"
            " WHERE s.source = :source AND s.slot = f.slot AND NOT s.final"
            " AND s.signature = f.signature"
        ).bindparams(*_ROWS),
        {
            "source": source,
            "all_slots": [each.slot for each in found],
            "signatures": [each.signature for each in found],
        },
    )


def forget(connection: Connection, source: int, slots: BlockRange) -> None:
    """Forget the lines in some slots, which are to be listed again."""
    binds = {"source": source, "first": slots.first, "last": slots.last}
    connection.execute(
        text(
            "DELETE FROM control.signature WHERE source = :source"
            " AND slot BETWEEN :first AND :last"
        ),
        binds,
    )
    connection.execute(
        text(
            "UPDATE control.listing SET slots ="
            " slots - int8multirange(int8range(:first, :last, '[]'))"
            " WHERE source = :source"
        ),
        binds,
    )
