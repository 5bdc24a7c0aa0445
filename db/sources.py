"""The chains that are followed: their row, their head, and what is wrong with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from db.control import (
    child,
    failed_transaction,
    sender_transaction,
    source,
    undecodable_log,
)
from db.errors import WrongChain
from db.position import MAX_HEIGHT, BlockRange, position
from db.records import from_row
from db.solana import listing

_SET_STATE = text(
    "UPDATE control.source SET state = :state, cause = :cause, trouble = :trouble,"
    " told_at = clock_timestamp(), state_since = CASE WHEN state = :state"
    " THEN coalesce(state_since, clock_timestamp()) ELSE clock_timestamp() END"
    " WHERE id = :id"
)
_BY_ID = select(source).where(source.c.id == bindparam("of_id"))


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One chain as the database knows it; heights are -1 or None before the first."""

    id: int
    name: str
    chain_id: str
    ordinals: str
    genesis: bytes | None
    head: int | None
    head_time: int | None
    final: int
    state: str
    cause: str
    traits: Mapping[str, str]  # what the chain has shown of its ways


def register(
    connection: Connection, *, name: str, chain_id: str, ordinals: str
) -> SourceRow:
    """The row of a chain, made on first sight.

    Raises WrongChain when the name stands for another chain already, or when its facts
    are numbered in another way.
    """
    known = find(connection, name)
    if known is None:
        # Two processes may see a chain first at the same time.
        connection.execute(
            upsert(source)
            .values(name=name, chain_id=chain_id, ordinals=ordinals)
            .on_conflict_do_nothing()
        )
        known = find(connection, name)
    if known is None:
        raise WrongChain(
            f"{chain_id} is followed under another name already. Give the chain that "
            f"name instead of {name!r}, or use another database."
        )
    if known.chain_id != chain_id and known.genesis is None:
        # Nothing was ever read under this name: the id was a mistake.
        taken = select(source.c.id).where(source.c.chain_id == chain_id).exists()
        correct = update(source).where(source.c.name == name, ~taken)
        connection.execute(correct.values(chain_id=chain_id))
        known = find(connection, name) or known
    if known.chain_id != chain_id:
        raise WrongChain(
            f"chain {name!r} was indexed as {known.chain_id} and the settings say "
            f"{chain_id}. Give the new chain another name, or use another database."
        )
    if known.ordinals != ordinals:
        raise WrongChain(
            f"chain {name!r} was indexed with logs = "
            f"{'all' if known.ordinals == 'rank' else 'filtered'!r}, which numbers its "
            "facts; that cannot change. Restore the setting, or use another database."
        )
    return known


def find(connection: Connection, name: str) -> SourceRow | None:
    """The row of a chain by its name in the settings."""
    row = connection.execute(select(source).where(source.c.name == name)).first()
    return None if row is None else _row(row)


def by_id(connection: Connection, source_id: int) -> SourceRow:
    """The row of a chain by its number."""
    return _row(connection.execute(_BY_ID, {"of_id": source_id}).one())


def all_sources(connection: Connection) -> list[SourceRow]:
    """Every chain ever followed, in order of id."""
    return [_row(row) for row in connection.execute(select(source).order_by("id"))]


def pin_genesis(connection: Connection, source_id: int, genesis: bytes) -> None:
    """Remember the hash of block 0, once."""
    connection.execute(
        update(source)
        .where(source.c.id == source_id, source.c.genesis.is_(None))
        .values(genesis=genesis)
    )


def learn(
    connection: Connection, source_id: int, traits: Mapping[str, str]
) -> list[str]:
    """Keep what a chain has shown of its ways; what is known already stays.

    `other` stands for a way that was not recognised, and gives way to one that is.
    Returns the names of traits that are known to be otherwise.
    """
    if not traits:
        return []
    row = connection.execute(
        text(
            "UPDATE control.source SET traits = cast(:new AS jsonb) || ("
            " SELECT coalesce(jsonb_object_agg(key, value), '{}')"
            " FROM jsonb_each_text(traits) WHERE value <> 'other')"
            " WHERE id = :id AND NOT traits @> cast(:new AS jsonb) RETURNING traits"
        ),
        {"id": source_id, "new": json.dumps(dict(traits))},
    ).first()
    if row is None:
        return []
    return sorted(
        name
        for name, value in traits.items()
        if value != "other" and row.traits[name] != value
    )


def set_trait(connection: Connection, source_id: int, name: str, value: str) -> None:
    """Keep a trait that is about what is stored, and not about the chain."""
    added = func.jsonb_build_object(name, value)
    connection.execute(
        update(source)
        .where(source.c.id == source_id)
        .values(traits=source.c.traits.op("||")(added))
    )


def observe(
    connection: Connection, source_id: int, *, head: int, head_time: int, final: int
) -> None:
    """Record what the chain reports; finality never moves backwards."""
    connection.execute(
        update(source)
        .where(source.c.id == source_id)
        .values(
            head=head,
            head_time=head_time,
            final=func.greatest(source.c.final, final),
            polled_at=func.now(),
        )
    )


def reset_from(connection: Connection, source_id: int, height: int) -> None:
    """An operator undid blocks that were final: finality is below them again."""
    connection.execute(
        update(source)
        .where(source.c.id == source_id)
        .values(final=func.least(source.c.final, height - 1), state="new", cause="")
    )
    if height == 0:
        connection.execute(
            update(source).where(source.c.id == source_id).values(genesis=None)
        )


def set_state(
    connection: Connection, source_id: int, state: str, cause: str, trouble: str = ""
) -> None:
    """Record the chain's state in one word, why, and what kind of trouble it is in."""
    connection.execute(
        _SET_STATE,
        {"id": source_id, "state": state, "cause": cause, "trouble": trouble},
    )


def report_incident(
    connection: Connection, source_id: int, kind: str, details: dict[str, Any]
) -> None:
    """Record why a chain was stopped, unless it is recorded and open already."""
    connection.execute(
        text(
            "INSERT INTO control.incident (source, kind, details, at)"
            " SELECT :source, :kind, cast(:details AS jsonb), now()"
            " WHERE NOT EXISTS (SELECT FROM control.incident WHERE source = :source"
            " AND kind = :kind AND resolved_at IS NULL"
            " AND details = cast(:details AS jsonb))"
        ),
        {
            "source": source_id,
            "kind": kind,
            "details": json.dumps(details, sort_keys=True),
        },
    )


def store_children(
    connection: Connection, source_id: int, rows: list[dict[str, Any]]
) -> None:
    """Remember contracts made by factories: contract, address, height."""
    if rows:
        statement = upsert(child)
        statement = statement.on_conflict_do_update(
            index_elements=["source", "contract", "address"],
            set_={"height": func.least(child.c.height, statement.excluded.height)},
        )
        connection.execute(statement, [{"source": source_id, **row} for row in rows])


def children(connection: Connection, source_id: int) -> list[Any]:
    """All children known, as (contract, address, height)."""
    query = select(child.c.contract, child.c.address, child.c.height).where(
        child.c.source == source_id
    )
    return [(r.contract, bytes(r.address), r.height) for r in connection.execute(query)]


def is_child(connection: Connection, source_id: int, address: bytes) -> bool:
    """Whether a factory that is followed made the contract at this address."""
    query = select(child.c.height).where(
        child.c.source == source_id, child.c.address == address
    )
    return connection.execute(query.limit(1)).first() is not None


def count_children(connection: Connection, source_id: int) -> int:
    """Count the children that are known."""
    query = select(func.count()).select_from(child).where(child.c.source == source_id)
    return int(connection.execute(query).scalar_one())


def children_of_others(connection: Connection, source_id: int, until: int) -> int:
    """Count the children up to a height that this transaction has not stored."""
    query = select(func.count()).where(
        child.c.source == source_id,
        child.c.height <= until,
        literal_column("xmin") != literal_column("pg_current_xact_id()::xid"),
    )
    return int(connection.execute(query.select_from(child)).scalar_one())


def late_children(
    connection: Connection, source_id: int, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Those of some children that are not stored, or only from a later height."""
    if not rows:
        return []
    query = select(child.c.contract, child.c.address, child.c.height).where(
        child.c.source == source_id,
        child.c.address.in_([row["address"] for row in rows]),
    )
    known = {
        (found.contract, bytes(found.address)): found.height
        for found in connection.execute(query)
    }
    return [
        row
        for row in rows
        if known.get((row["contract"], row["address"]), MAX_HEIGHT) > row["height"]
    ]


def store_oddities(
    connection: Connection,
    source_id: int,
    undecodable: list[dict[str, Any]],
    transactions: list[dict[str, Any]],
    failed: list[dict[str, Any]],
) -> None:
    """Store undecodable logs, watched and failed transactions, each of them once."""
    for table, rows in (
        (undecodable_log, undecodable),
        (sender_transaction, transactions),
        (failed_transaction, failed),
    ):
        if rows:
            connection.execute(
                upsert(table).on_conflict_do_nothing(),
                [{"source": source_id, **row} for row in rows],
            )


def forget_undecodable(
    connection: Connection, source_id: int, blocks: BlockRange
) -> None:
    """Forget the undecodable logs of a range, which is read again."""
    within = undecodable_log.c.position.between(blocks.lowest, blocks.highest)
    connection.execute(
        delete(undecodable_log).where(undecodable_log.c.source == source_id, within)
    )


def forget_from(connection: Connection, source_id: int, height: int) -> None:
    """Forget children, oddities and what was listed at or above a height."""
    lowest = position(height, 0)
    for table, column, bound in (
        (child, child.c.height, height),
        (undecodable_log, undecodable_log.c.position, lowest),
        (sender_transaction, sender_transaction.c.position, lowest),
        (failed_transaction, failed_transaction.c.position, lowest),
    ):
        connection.execute(
            delete(table).where(table.c.source == source_id, column >= bound)
        )
    listing.forget(connection, source_id, BlockRange(height, MAX_HEIGHT))


def notify(connection: Connection, source_id: int, blocks: BlockRange) -> None:
    """Notify the channel `chainfold` at commit: `source:first:last`."""
    payload = f"{source_id}:{blocks.first}:{blocks.last}"
    connection.execute(select(func.pg_notify("chainfold", payload)))


def notify_final(connection: Connection, source_id: int, height: int) -> None:
    """Notify waiters for final blocks at commit: `source:final:height`."""
    connection.execute(
        select(func.pg_notify("chainfold", f"{source_id}:final:{height}"))
    )


def _row(row: Any) -> SourceRow:
    return from_row(SourceRow, row)
