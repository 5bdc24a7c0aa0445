"""Which blocks have been written, as a multirange per event and filter.

Absence is concluded only from contiguous coverage: a block counts as read when its
range committed together with whatever was, or was not, in it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from db.position import MAX_HEIGHT, BlockRange


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """One event read through one filter, from a first block on.

    `filter` is a contract's address as `0x…`, or `factory:<event>` for children.
    """

    event: str
    filter: str
    start: int


_MISSING = text(
    """
    SELECT s.event, s.filter, lower(r) AS first, upper(r) - 1 AS last
    FROM unnest(:events, :filters, :starts) AS s(event, filter, start)
    LEFT JOIN control.coverage c
        ON c.source = :source AND c.event = s.event AND c.filter = s.filter,
    LATERAL unnest(
        CASE WHEN s.start <= :last
        THEN int8multirange(int8range(greatest(s.start, :first), :last, '[]'))
             - coalesce(c.blocks, '{}'::int8multirange)
        ELSE '{}'::int8multirange END
    ) AS r
    WHERE s.start <= :last AND greatest(s.start, :first) <= :last
    ORDER BY 3, 1, 2
    """
).bindparams(
    bindparam("events", type_=ARRAY(TEXT)),
    bindparam("filters", type_=ARRAY(TEXT)),
    bindparam("starts", type_=ARRAY(BigInteger)),
)


def missing(
    connection: Connection, source: int, streams: Collection[Stream], within: BlockRange
) -> dict[Stream, list[BlockRange]]:
    """The blocks not yet written, for each stream that lacks any inside `within`."""
    if not streams:
        return {}
    by_name = {(stream.event, stream.filter): stream for stream in streams}
    rows = connection.execute(
        _MISSING,
        {
            "source": source,
            "events": [stream.event for stream in streams],
            "filters": [stream.filter for stream in streams],
            "starts": [stream.start for stream in streams],
            "first": within.first,
            "last": within.last,
        },
    )
    found: dict[Stream, list[BlockRange]] = {}
    for event, filter_, first, last in rows:
        ranges = found.setdefault(by_name[event, filter_], [])
        ranges.append(BlockRange(first, last))
    return found


def next_range(
    gaps: Mapping[Stream, Iterable[BlockRange]], limit: int
) -> tuple[BlockRange, list[Stream]] | None:
    """The lowest blocks that some streams lack, at most `limit` of them.

    The range ends where the set of streams that lack it would change, so that one fetch
    serves all of them alike.
    """
    ranges = [(each, stream) for stream, found in gaps.items() for each in found]
    if not ranges:
        return None
    first = min(each.first for each, _ in ranges)
    lacking = [(each, stream) for each, stream in ranges if each.first == first]
    later = [each.first - 1 for each, _ in ranges if each.first > first]
    last = min([each.last for each, _ in lacking] + later + [first + limit - 1])
    return BlockRange(first, last), sorted(stream for _, stream in lacking)


def mark(
    connection: Connection, source: int, streams: Collection[Stream], blocks: BlockRange
) -> None:
    """Record that a range was written; the rows stay locked until commit."""
    ordered = sorted(streams)
    parameters = [
        {
            "source": source,
            "event": stream.event,
            "filter": stream.filter,
            "first": blocks.first,
            "last": blocks.last,
        }
        for stream in ordered
    ]
    if parameters:
        connection.execute(
            text(
                "INSERT INTO control.coverage VALUES (:source, :event, :filter,"
                " int8multirange(int8range(:first, :last, '[]')))"
                " ON CONFLICT (source, event, filter)"
                " DO UPDATE SET blocks = control.coverage.blocks + excluded.blocks"
            ),
            parameters,
        )


def events_covered(connection: Connection, source: int, blocks: BlockRange) -> set[str]:
    """The events of which some block of a range was written, through any filter."""
    rows = connection.execute(
        text(
            "SELECT event FROM control.coverage WHERE source = :source"
            " AND blocks && int8range(:first, :last, '[]')"
        ),
        {"source": source, "first": blocks.first, "last": blocks.last},
    )
    return set(rows.scalars())


def unmark_from(connection: Connection, source: int, height: int) -> None:
    """Forget that any block at or above a height was written."""
    connection.execute(
        text(
            "UPDATE control.coverage"
            " SET blocks = blocks - int8multirange(int8range(:first, NULL))"
            " WHERE source = :source"
        ),
        {"source": source, "first": height},
    )


def unmark_children(
    connection: Connection, source: int, event: str, factory: str, height: int
) -> None:
    """Forget that an event of a factory's children was read from a height on."""
    connection.execute(
        text(
            "UPDATE control.coverage"
            " SET blocks = blocks - int8multirange(int8range(:first, NULL))"
            " WHERE source = :source AND event = :event AND filter = :filter"
            " AND blocks && int8range(:first, NULL)"
        ),
        {
            "source": source, "event": event, "filter": f"factory:{factory}",
            "first": height,
        },
    )  # fmt: skip


def checkpoint(
    connection: Connection, source: int, streams: Collection[Stream]
) -> int | None:
    """The last block with no gap before it in any stream, None before the first."""
    if not streams:
        return None
    everything = BlockRange(0, MAX_HEIGHT)
    gaps = missing(connection, source, streams, everything)
    lowest = min(found[0].first for found in gaps.values())
    starts = min(stream.start for stream in streams)
    return lowest - 1 if lowest > starts else None
