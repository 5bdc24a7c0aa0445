"""How far a chain has been read, and up to which block an answer is true.

The *checkpoint* of some events is the last block h such that every stream of those
events (an event read through one filter) has been written from its first block to h
without a gap; below it, what is not in the tables is not on the chain. It is taken per
projection, over the events that the projection reads, because an event declared
yesterday may still be read while the others are at the head. The chain's own stream,
`chain.blocks`, counts always, so that no block is named that nobody has read.

Which streams there should be is for the settings to say. With a `plan` (the chain's
planned streams) the answer is certain: a stream without coverage has nothing, and rows
left by an address that is no longer followed are ignored. Without one, the streams are
those that have coverage, each from its own lowest block: an event never read is not
missed then, and the first chunk of a backfill done out of order passes for the
beginning. Servers therefore give the plan.

Rows may hold facts above the checkpoint (a backfill, a new event that is catching up).
They are then the state at no block at all, and `exact` is false; the state as of a
block up to the checkpoint is exact always.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Connection,
    LargeBinary,
    Text,
    TextClause,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.sql.selectable import TextualSelect

from db import coverage
from db.control import coverage as coverage_table
from db.control import declaration, follower, incident
from db.control import source as source_table
from db.coverage import Stream
from db.places import FOLLOWER_SECONDS
from db.position import BlockRange
from db.registry import Registry, event_fingerprint

BLOCKS = "chain.blocks"  # the stream of the blocks themselves, as the indexer names it
GAPS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Block:
    """The block that an answer is true for; `hash` and `time` None: not remembered."""

    chain: str
    height: int
    hash: bytes | None
    time: int | None  # seconds since the epoch
    final: bool
    exact: bool

    def as_json(self) -> dict[str, Any]:
        """The block as answers name it."""
        return {
            "chain": self.chain,
            "height": self.height,
            "hash": None if self.hash is None else "0x" + self.hash.hex(),
            "time": self.time,
            "final": self.final,
            "exact": self.exact,
        }


@dataclass(frozen=True, slots=True)
class Mark:
    """How far some events are read, and the block at that height or as of another.

    `checkpoint` None: nothing is indexed. `block` is None then, and when the block
    asked for lies above the checkpoint.
    """

    chain: str
    checkpoint: int | None
    block: Block | None
    built_at: str  # when the rows' table was built; "" when it is not a projection


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """What there is to say about one chain; None: not known yet."""

    name: str
    chain_id: str
    head: int | None
    head_time: int | None
    final: int | None
    checkpoint: int | None
    lag_blocks: int | None
    gaps: tuple[BlockRange, ...]  # below what is written, lowest first, at most ten
    state: str
    cause: str
    incidents: tuple[str, ...]
    polled_at: datetime | None
    followed_by: str | None  # None: no process follows it now


_KNOWN = """
    SELECT c.event, lower(c.blocks) AS start, c.blocks
    FROM control.coverage c
    WHERE c.source = :source AND c.event = ANY(:events)
"""
_PLANNED = """
    SELECT s.event, s.start, coalesce(c.blocks, '{}') AS blocks
    FROM unnest(:events, :filters, :starts) AS s(event, filter, start)
    LEFT JOIN control.coverage c
        ON c.source = :source AND c.event = s.event AND c.filter = s.filter
"""
# A stream that was rewound to before its first block has no lowest block; `start` is
# NULL then, which no minimum may hide.
_MARK = """
    SELECT s.name AS chain, reach.height AS checkpoint, b.hash AS block_hash,
        b.time AS block_time,
        coalesce(:as_of, reach.height) <= s.final AS final,
        coalesce(written.height <= reach.height, true) AS exact,
        coalesce((SELECT d.fingerprint || ' ' || d.built_at FROM control.declaration d
            WHERE d.kind = 'projection' AND d.name = :relation), '') AS built_at
    FROM control.source s
    CROSS JOIN (
        SELECT CASE WHEN bool_and(start IS NOT NULL) AND min(last) >= min(start)
            THEN min(last) END AS height
        FROM (
            SELECT start,
                lower(int8multirange(int8range(start, NULL)) - blocks) - 1 AS last
            FROM ({streams}) AS stream
        ) AS each
    ) AS reach
    CROSS JOIN (
        SELECT max(upper(c.blocks)) - 1 AS height FROM control.coverage c
        WHERE c.source = :source AND c.event = ANY(:own)
    ) AS written
    LEFT JOIN control.block b
        ON b.source = s.id AND b.height = coalesce(:as_of, reach.height)
    WHERE s.id = :source
"""


@cache
def mark_select(*, planned: bool) -> TextualSelect:
    """The one row that says how far events are read; binds what `mark_binds` gives.

    It is a part of the statement that reads the rows, so that both see one snapshot.
    """
    parameters: list[BindParameter[Any]] = [bindparam("as_of")]
    parameters.append(bindparam("own", type_=ARRAY(TEXT)))
    parameters += [bindparam("events", type_=ARRAY(TEXT)), bindparam("relation")]
    if planned:
        parameters.append(bindparam("filters", type_=ARRAY(TEXT)))
        parameters.append(bindparam("starts", type_=ARRAY(BigInteger)))
    statement: TextClause = text(
        _MARK.replace("{streams}", _PLANNED if planned else _KNOWN)
    )
    return statement.bindparams(*parameters).columns(
        chain=Text,
        checkpoint=BigInteger,
        block_hash=LargeBinary,
        block_time=BigInteger,
        final=Boolean,
        exact=Boolean,
        built_at=Text,
    )


def mark_binds(
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None,
    *,
    as_of: int | None = None,
    relation: str = "",
) -> dict[str, Any]:
    """The parameters of `mark_select` for some events (ids) of a chain."""
    own = sorted(set(events) - {BLOCKS})
    binds: dict[str, Any] = {
        "source": source, "own": own, "as_of": as_of, "relation": relation,
    }  # fmt: skip
    counted = {*own, BLOCKS}
    if plan is None:
        return binds | {"events": sorted(counted)}
    streams = [stream for stream in plan if stream.event in counted]
    return binds | {
        "events": [stream.event for stream in streams],
        "filters": [stream.filter for stream in streams],
        "starts": [stream.start for stream in streams],
    }


def mark_of(row: Sequence[Any], as_of: int | None) -> Mark:
    """The mark in a row of `mark_select`."""
    chain, checkpoint, hash_, time, final, exact, built_at = row
    block = None
    if checkpoint is not None and (as_of is None or as_of <= checkpoint):
        block = Block(
            chain=chain,
            height=checkpoint if as_of is None else as_of,
            hash=None if hash_ is None else bytes(hash_),
            time=time,
            final=final,
            exact=exact or as_of is not None,
        )
    return Mark(chain, checkpoint, block, built_at)


def read_mark(
    connection: Connection,
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None = None,
    *,
    as_of: int | None = None,
    relation: str = "",
) -> Mark:
    """How far these events (ids) of a chain are read, without any rows."""
    binds = mark_binds(source, events, plan, as_of=as_of, relation=relation)
    row = connection.execute(mark_select(planned=plan is not None), binds).one()
    return mark_of(row, as_of)


def checkpoint(
    connection: Connection,
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None = None,
) -> int | None:
    """The last block up to which all these events are read, None before the first."""
    return read_mark(connection, source, events, plan).checkpoint


def chain_status(
    connection: Connection, source: int, plan: Sequence[Stream] | None = None
) -> ChainStatus:
    """Everything worth knowing about a chain, over all its streams."""
    streams = _known_streams(connection, source) if plan is None else list(plan)
    events = {stream.event for stream in streams}
    reached = checkpoint(connection, source, events, streams)
    row = connection.execute(
        select(source_table).where(source_table.c.id == source)
    ).one()
    open_incidents = connection.execute(
        select(incident.c.kind, incident.c.details)
        .where(incident.c.source == source, incident.c.resolved_at.is_(None))
        .order_by(incident.c.id)
    )
    lag = None
    if row.head is not None:
        lag = max(row.head - (-1 if reached is None else reached), 0)
    return ChainStatus(
        name=row.name,
        chain_id=row.chain_id,
        head=row.head,
        head_time=row.head_time,
        final=None if row.final < 0 else row.final,
        checkpoint=reached,
        lag_blocks=lag,
        gaps=_gaps(connection, source, streams),
        state=row.state,
        cause=row.cause,
        incidents=tuple(
            str(details.get("cause") or kind) for kind, details in open_incidents
        ),
        polled_at=row.polled_at,
        followed_by=_follower(connection, source),
    )


def stale_declarations(connection: Connection, registry: Registry) -> list[str]:
    """The events and projections that the tables were not built from, by name."""
    built = {
        (row.kind, row.name): row.fingerprint
        for row in connection.execute(select(declaration))
    }
    return [
        name
        for (kind, name), fingerprint in _fingerprints(registry).items()
        if built.get((kind, name)) != fingerprint
    ]


def _fingerprints(registry: Registry) -> dict[tuple[str, str], str]:
    found = {("event", id_): event_fingerprint(e) for id_, e in registry.events.items()}
    for plural, projection in registry.projections.items():
        found["projection", plural] = projection.spec.fingerprint()
    return found


def _known_streams(connection: Connection, source: int) -> list[Stream]:
    rows = connection.execute(
        text(
            "SELECT event, filter, coalesce(lower(blocks), 0)"
            " FROM control.coverage WHERE source = :source"
        ),
        {"source": source},
    )
    return [Stream(*row) for row in rows]


def _gaps(
    connection: Connection, source: int, streams: Sequence[Stream]
) -> tuple[BlockRange, ...]:
    """The blocks that some stream lacks below the highest that any has."""
    upper = func.max(func.upper(coverage_table.c.blocks))
    query = select(upper - 1).where(coverage_table.c.source == source)
    last = connection.execute(query).scalar()
    if last is None:
        return ()
    lacking = coverage.missing(connection, source, streams, BlockRange(0, last))
    merged: list[BlockRange] = []
    for each in sorted(each for ranges in lacking.values() for each in ranges):
        if merged and each.first <= merged[-1].last + 1:
            end = max(merged[-1].last, each.last)
            merged[-1] = BlockRange(merged[-1].first, end)
        else:
            merged.append(each)
    return tuple(merged[:GAPS_SHOWN])


def _follower(connection: Connection, source: int) -> str | None:
    age = text("clock_timestamp() - make_interval(secs => :patience)")
    query = select(follower.c.owner).where(
        follower.c.source == source, follower.c.seen_at > age
    )
    owner: str | None = connection.execute(
        query, {"patience": FOLLOWER_SECONDS}
    ).scalar()
    return owner
