"""Requests of reactions for commands: rows that become commands, each once.

A reaction's position and its requests commit together, so that a fact is reacted to
once, and a request has a key, so that the same request is not made twice. One that is
withdrawn keeps its row, so that it is not made later either.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    case,
    func,
    literal,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from db.control import outbox, reaction
from db.declare import Event, FieldKind, RowOf
from db.position import MAX_ORDINAL, BlockRange
from db.sql.columns import fact_table

CHANNEL = "chainfold_request"  # notified when a command is asked for, or withdrawn


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command that a reaction asks for, by the command's slug and JSON arguments.

    `withdrawn_because` is empty while it is wanted; `refusal` is of the last try.
    """

    id: int
    key: str
    kind: str
    arguments: Mapping[str, Any]
    cause: str
    withdrawn_because: str
    refusal: str


@dataclass(frozen=True, slots=True)
class FactSeen:
    """A fact as a reaction is given it."""

    position: int
    row: RowOf


def lock_reaction(connection: Connection, source: int, name: str) -> int:
    """The position that a reaction has reached, locked until commit; -1 at first."""
    connection.execute(
        insert(reaction)
        .values(source=source, name=name, position=-1)
        .on_conflict_do_nothing()
    )
    query = (
        select(reaction.c.position)
        .where(reaction.c.source == source, reaction.c.name == name)
        .with_for_update()
    )
    return int(connection.execute(query).scalar_one())


def move_reaction(
    connection: Connection, source: int, name: str, position: int
) -> None:
    """Remember up to where a reaction has run."""
    connection.execute(
        update(reaction)
        .where(reaction.c.source == source, reaction.c.name == name)
        .values(position=position)
    )


def step_back(connection: Connection, source: int, blocks: BlockRange) -> None:
    """Move the positions of reactions in a range back to the start of their block.

    Its facts get other positions; what is asked for again is the same request.
    """
    at = reaction.c.position
    below = at.op("&")(~MAX_ORDINAL) - 1
    connection.execute(
        update(reaction)
        .where(reaction.c.source == source, at.between(blocks.lowest, blocks.highest))
        .values(position=below)
    )


def unseen(
    connection: Connection, source: int, reactions: Mapping[str, type[Event]]
) -> set[str]:
    """Return those reactions whose event has facts that they have not seen.

    `reactions` are their events by name. The facts need not be final.
    """
    arms = []
    for name, event in reactions.items():
        reached = (
            select(reaction.c.position)
            .where(reaction.c.source == source, reaction.c.name == name)
            .scalar_subquery()
        )
        table = fact_table(event)
        found = select(table.c.position).where(
            table.c.source == source, table.c.position > func.coalesce(reached, -1)
        )
        arms.append(select(literal(name)).where(found.exists()))
    return set(connection.scalars(union_all(*arms))) if arms else set()


def facts_between(
    connection: Connection,
    event: type[Event],
    source: int,
    *,
    after: int,
    until: int,
    limit: int,
) -> list[FactSeen]:
    """Facts of an event above one position, up to the end of a block, in order."""
    table = fact_table(event)
    query = (
        select(table)
        .where(
            table.c.source == source,
            table.c.position > after,
            table.c.position <= BlockRange(0, until).highest,
        )
        .order_by(table.c.position)
        .limit(limit)
    )
    fields = event.spec.fields
    numbers = {
        n for n, f in fields.items() if f.kind in (FieldKind.NUMERIC, FieldKind.BIGINT)
    }
    raw = {n for n, f in fields.items() if f.kind is FieldKind.BYTES}
    found = []
    for row in connection.execute(query).mappings():
        values: dict[str, Any] = dict(row)
        values |= {name: int(values[name]) for name in numbers}
        values |= {name: bytes(values[name]) for name in (*raw, "transaction")}
        found.append(FactSeen(values["position"], RowOf(values)))
    return found


def request_command(
    connection: Connection,
    source: int,
    *,
    key: str,
    kind: str,
    arguments: Mapping[str, Any],
    cause: str,
    now: datetime,
) -> bool:
    """Store a request for a command once for each key; whether it is new."""
    made = connection.execute(
        insert(outbox)
        .values(
            source=source, key=key, kind=kind, arguments=dict(arguments), cause=cause,
            asked_at=now, next_action_at=now,
        )
        .on_conflict_do_nothing()
        .returning(outbox.c.id)
    )  # fmt: skip
    _wake(connection)
    return made.scalar() is not None


def withdraw(
    connection: Connection,
    source: int,
    *,
    key: str,
    kind: str,
    because: str,
    cause: str,
    now: datetime,
) -> bool:
    """Have a request wanted no more, made or yet to be made; whether it was wanted."""
    statement = insert(outbox).values(
        source=source, key=key, kind=kind, arguments={}, cause=cause, asked_at=now,
        next_action_at=now, withdrawn_because=because[:500],
    )  # fmt: skip
    done = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["source", "key"],
            set_={"withdrawn_because": because[:500], "next_action_at": now},
            where=outbox.c.withdrawn_because == "",
        ).returning(outbox.c.id)
    )
    _wake(connection)
    return done.scalar() is not None


def due(
    connection: Connection, source: int, now: datetime, limit: int = 100
) -> list[CommandRequest]:
    """Return the requests that are not submitted yet, oldest first."""
    query = (
        select(outbox)
        .where(outbox.c.source == source, outbox.c.next_action_at <= now)
        .order_by(outbox.c.id)
        .limit(limit)
    )
    return [
        CommandRequest(
            row.id,
            row.key,
            row.kind,
            row.arguments,
            row.cause,
            row.withdrawn_because,
            row.refusal,
        )
        for row in connection.execute(query)
    ]


def note_accepted(connection: Connection, request_id: int, command: uuid.UUID) -> None:
    """Record that a request became a command; one withdrawn meanwhile stays due."""
    is_wanted = outbox.c.withdrawn_because == ""
    again = case((is_wanted, null()), else_=func.clock_timestamp())
    _answer(connection, request_id, command=command, refusal="", next_action_at=again)


def note_withdrawn(
    connection: Connection, request_id: int, command: uuid.UUID | None, outcome: str
) -> None:
    """Record what became of a request that was withdrawn."""
    _answer(
        connection, request_id, command=command, refusal=outcome[:1000],
        next_action_at=None,
    )  # fmt: skip


def note_rejected(connection: Connection, request_id: int, reason: str) -> None:
    """Record why a request can never be accepted; it is not tried again."""
    _answer(connection, request_id, refusal=reason[:1000], next_action_at=None)


def note_retry(
    connection: Connection, request_id: int, reason: str, until: datetime
) -> None:
    """Record why a request was not submitted now; it is tried again at `later`."""
    _answer(connection, request_id, refusal=reason[:1000], next_action_at=until)


def waiting(connection: Connection) -> tuple[int, datetime | None]:
    """Return how many requests wait, and since when the oldest does."""
    row = connection.execute(
        select(func.count(), func.min(outbox.c.asked_at)).where(
            outbox.c.next_action_at.is_not(None), outbox.c.withdrawn_because == ""
        )
    ).one()
    return int(row[0]), row[1]


def request_key(name: str, values: Sequence[Any]) -> str:
    """`certify:["0x…","0x…"]`: the same for the same request."""
    shown = ["0x" + v.hex() if isinstance(v, bytes) else str(v) for v in values]
    return f"{name}:{json.dumps(shown, separators=(',', ':'))}"


def _wake(connection: Connection) -> None:
    """Wake at commit who submits requests."""
    connection.execute(select(func.pg_notify(CHANNEL, "")))


def _answer(connection: Connection, request_id: int, **values: Any) -> None:
    connection.execute(update(outbox).where(outbox.c.id == request_id).values(values))
