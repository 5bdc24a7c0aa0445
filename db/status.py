"""The status of a chain: for `status`, for the API, for alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    cast,
    func,
    select,
    text,
)

from db import coverage, full_disk, proofs
from db.control import coverage as coverage_table
from db.control import follower, undecodable_log
from db.control import source as source_table
from db.coverage import Stream
from db.incidents import list_incidents
from db.leases import FOLLOWER_SECONDS
from db.position import BlockRange
from db.proofs import Proof
from db.reads.freshness import checkpoint

GAPS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The status of one chain; None: not known yet."""

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
    undecodable: int  # logs of followed contracts that are not what their ABI says
    mended: int  # logs that are facts, with values that had to be mended
    polled_at: datetime | None
    followed_by: str | None  # None: no process follows it now
    trouble: str = ""  # what kind of cause it is (`db.diagnosis.Ailment`)
    state_seconds: float | None = None  # since the state is what it is
    told_seconds: float | None = None  # since its follower last ended a step
    silent_seconds: float | None = None  # since it was heard of; None: has no follower
    proof: Proof | None = None  # the lowest of the blocks indexed; None: there are none
    traits: Mapping[str, str] = field(default_factory=dict)  # what the chain has shown
    disk_full: bool = False  # its follower finds no room, and cannot record even that


def chain_status(
    connection: Connection, source: int, plan: Sequence[Stream] | None = None
) -> ChainStatus:
    """Everything worth knowing about a chain, over all its streams."""
    streams = _known_streams(connection, source) if plan is None else list(plan)
    events = {stream.event for stream in streams}
    reached = checkpoint(connection, source, events, streams)
    row = _row(connection, source)
    heard = row.silent_seconds is not None and row.silent_seconds < FOLLOWER_SECONDS
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
            each.cause for each in list_incidents(connection, source=source)
        ),
        undecodable=_odd_logs(connection, source, kept=False),
        mended=_odd_logs(connection, source, kept=True),
        polled_at=row.polled_at,
        followed_by=row.owner if heard else None,
        trouble=row.trouble,
        state_seconds=row.state_seconds,
        told_seconds=row.told_seconds,
        silent_seconds=row.silent_seconds,
        proof=_proof(connection, source, streams, reached),
        traits=row.traits,
        disk_full=full_disk.is_told(connection, source),
    )


def mixed_positions(each: ChainStatus) -> str:
    """Say that facts are numbered in two ways, and the remedy; empty if in one."""
    if each.traits.get("positions") != "mixed":
        return ""
    return (
        "logs were numbered in two ways while its node changed: stop what follows it, "
        "then run `chainfold migrate --refetch`, which reads those blocks again"
    )


def describe_proof(each: ChainStatus) -> str:
    """Say to which levels blocks are proved, and what the chain cannot prove."""
    if each.proof is None:
        return "nothing is indexed"
    found = f"headers by {each.proof.header.word}, logs by {each.proof.logs.word}"
    if each.traits.get("bloom") in ("none", "wrong"):
        found += "; the chain writes no true blooms"
    if each.traits.get("receipts") == "other":
        found += "; its receipts are of an unknown form"
    if each.traits.get("header") == "other":
        found += "; its headers are hashed in an unknown way"
    return found


def _proof(
    connection: Connection, source: int, streams: Sequence[Stream], reached: int | None
) -> Proof | None:
    """The lowest levels from the first block that is read to the checkpoint."""
    if reached is None or not streams:
        return None
    first = min(stream.start for stream in streams)
    return proofs.lowest(connection, source, BlockRange(min(first, reached), reached))


def _odd_logs(connection: Connection, source: int, *, kept: bool) -> int:
    query = (
        select(func.count())
        .select_from(undecodable_log)
        .where(undecodable_log.c.source == source, undecodable_log.c.kept == kept)
    )
    return int(connection.execute(query).scalar_one())


def _row(connection: Connection, source: int) -> Row[Any]:
    """Read the row of a chain with its follower."""
    return connection.execute(
        select(
            source_table,
            _seconds_since(source_table.c.state_since).label("state_seconds"),
            _seconds_since(source_table.c.told_at).label("told_seconds"),
            follower.c.owner,
            _seconds_since(follower.c.seen_at).label("silent_seconds"),
        )
        .outerjoin(follower, follower.c.source == source_table.c.id)
        .where(source_table.c.id == source)
    ).one()


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


def _seconds_since(at: ColumnElement[Any]) -> ColumnElement[float]:
    age = func.extract("epoch", func.clock_timestamp() - at)
    return cast(age, Double)
