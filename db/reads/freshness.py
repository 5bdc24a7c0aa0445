"""The progress of a chain, and the block up to which an answer is true.

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
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    Connection,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from db.arrays import array_text
from db.coverage import Stream
from db.declare.times import time_text
from db.proofs import Proof
from db.reads.statements import Statement, compiled

BLOCKS = "chain.blocks"  # the stream of the blocks themselves, as the indexer names it


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """The block that an answer is true for; `hash` and `time` None: not remembered."""

    chain: str
    height: int
    hash: str | None  # as the chain writes it
    time: int | None  # seconds since the epoch
    final: bool
    exact: bool
    proof: Proof | None = None  # the lowest of the blocks read; None: no chain's blocks

    def as_json(self) -> dict[str, Any]:
        """The block as answers name it."""
        return {
            "chain": self.chain,
            "height": self.height,
            "hash": self.hash,
            "time": None if self.time is None else time_text(self.time),
            "final": self.final,
            "exact": self.exact,
        }


@dataclass(frozen=True, slots=True)
class Freshness:
    """The progress of some events, and the block at that height or as of another.

    `checkpoint` None: nothing is indexed. `block` is None then, and when the block
    asked for lies above the checkpoint.
    """

    chain: str
    checkpoint: int | None
    block: BlockInfo | None
    built_at: str  # when the rows' table was built; "" when it is not a projection


# Postgres plans a function once in a session, and this would be most of the planning of
# a small read (`db/sql/functions/mark.sql`). What it reads is in the snapshot
# of the statement that calls it; that it locks its tables later does no harm, as no
# migration puts others in their place.
_FRESHNESS = text(
    """
    SELECT * FROM control.mark(:source, cast(:as_of AS bigint), cast(:own AS text[]),
        cast(:events AS text[]), cast(:filters AS text[]), cast(:starts AS bigint[]),
        :relation)
    """
).columns(
    chain=Text,
    checkpoint=BigInteger,
    block_hash=Text,
    block_time=BigInteger,
    final=Boolean,
    exact=Boolean,
    built_at=Text,
    proof=ARRAY(TEXT),
)
_ALONE = compiled(_FRESHNESS)
# Two statements that have the same snapshot see the same rows: what it does not hold
# had ended before both, or ends after both. A replica's snapshot does not tell as much.
_SNAPSHOT = Statement(
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_postmaster_start_time()::text"
    " || pg_current_snapshot()::text END",
    {},
)
_REMEMBERED_MOST = 1000  # of one connection: a projection or event of a chain each


def freshness_cte() -> CTE:
    """Return the progress of events as the first part of a statement: one row.

    Binds what `freshness_binds` gives; both parts of the statement see one snapshot.
    """
    return _FRESHNESS.cte("freshness")


def freshness_binds(
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None,
    *,
    as_of: int | None = None,
    relation: str = "",
) -> dict[str, Any]:
    """The parameters of `freshness_cte` for some events (ids) of a chain."""
    own = sorted(set(events) - {BLOCKS})
    binds: dict[str, Any] = {
        "source": source, "own": array_text(own), "as_of": as_of, "relation": relation,
    }  # fmt: skip
    counted = {*own, BLOCKS}
    if plan is None:
        events = array_text(sorted(counted))
        return binds | {"events": events, "filters": None, "starts": None}
    streams = [stream for stream in plan if stream.event in counted]
    return binds | {
        "events": array_text(stream.event for stream in streams),
        "filters": array_text(stream.filter for stream in streams),
        "starts": array_text(str(stream.start) for stream in streams),
    }


def freshness_of(row: Sequence[Any], as_of: int | None) -> Freshness:
    """The freshness in a row of `freshness_cte`."""
    chain, checkpoint, hash_, time, final, exact, built_at, levels = row
    block = None
    if checkpoint is not None and (as_of is None or as_of <= checkpoint):
        block = BlockInfo(
            chain=chain,
            height=checkpoint if as_of is None else as_of,
            hash=hash_,
            time=time,
            final=final,
            exact=exact or as_of is not None,
            proof=None if levels is None else Proof.of(levels),
        )
    return Freshness(chain, checkpoint, block, built_at)


def read_freshness(
    connection: Connection,
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None = None,
    *,
    as_of: int | None = None,
    relation: str = "",
) -> Freshness:
    """Read the progress of these events (ids) of a chain, and nothing else."""
    binds = freshness_binds(source, events, plan, as_of=as_of, relation=relation)
    rows = _ALONE.run(connection, binds)
    return freshness_of(known(rows, source)[0], as_of)


def read_freshness_again(
    connection: Connection,
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None = None,
    *,
    relation: str = "",
) -> Freshness:
    """Read the progress of events as they are, unless nothing has changed since.

    The connection remembers what it read with the snapshot that came before it. While
    the snapshot is the same, every commit that is seen now was seen then.
    """
    [[snapshot]] = _SNAPSHOT.run(connection, {})
    remembered: dict[Any, tuple[str, Any, Freshness]]
    remembered = connection.info.setdefault("freshness", {})
    key = (source, relation, *events)
    before = remembered.get(key)
    if before is not None and before[0] == snapshot and before[1] is plan:
        return before[2]
    freshness = read_freshness(connection, source, events, plan, relation=relation)
    if len(remembered) >= _REMEMBERED_MOST:
        remembered.clear()
    if snapshot is not None:
        remembered[key] = (snapshot, plan, freshness)
    return freshness


def known(rows: Sequence[Sequence[Any]], source: int) -> Sequence[Sequence[Any]]:
    """The rows; raises when there are none, as there is always one for a chain."""
    if not rows:
        raise LookupError(f"no chain has the number {source}")
    return rows


def checkpoint(
    connection: Connection,
    source: int,
    events: Collection[str],
    plan: Sequence[Stream] | None = None,
) -> int | None:
    """The last block up to which all these events are read, None before the first."""
    return read_freshness(connection, source, events, plan).checkpoint
