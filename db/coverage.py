"""Coverage: the blocks that were written, as a multirange per event and filter.

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

    `filter` is a contract's address as `0x…`, or `factory:<event>.<field>` for the
    children that a field of an event announces.
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


_BIND_STREAMS = (
    bindparam("events", type_=ARRAY(TEXT)),
    bindparam("filters", type_=ARRAY(TEXT)),
    bindparam("starts", type_=ARRAY(BigInteger)),
)
_STREAMS = """
    FROM unnest(:events, :filters, :starts) AS s(event, filter, start)
    LEFT JOIN control.coverage c
        ON c.source = :source AND c.event = s.event AND c.filter = s.filter
    WHERE greatest(s.start, :first) <= :last
"""
_FIRST_OPEN = text(
    """
    SELECT min(CASE WHEN one.r @> at THEN upper(one.r) ELSE at END)
    FROM (SELECT c.blocks, greatest(s.start, :first) AS at WANTED) AS g
    LEFT JOIN LATERAL (SELECT unnest(g.blocks) AS r LIMIT 1) AS one ON true
    """.replace("WANTED", _STREAMS)
).bindparams(*_BIND_STREAMS)
_FIRST_MISSING = text(
    """
    SELECT g.event, g.filter, lower(r) AS first, upper(r) - 1 AS last
    FROM (SELECT s.event, s.filter,
        int8multirange(int8range(greatest(s.start, :first), :last, '[]'))
        - coalesce(c.blocks, '{}') - cast(:taken AS int8multirange) AS blocks
        WANTED) AS g,
    LATERAL (SELECT unnest(g.blocks) AS r LIMIT 1) AS one
    """.replace("WANTED", _STREAMS)
).bindparams(*_BIND_STREAMS)

# Rows are locked in order, so that two writers cannot wait for each other.
_MARK = text(
    """
    INSERT INTO control.coverage
    SELECT :source, s.event, s.filter, int8multirange(int8range(:first, :last, '[]'))
    FROM unnest(:events, :filters) WITH ORDINALITY AS s(event, filter, number)
    ORDER BY s.number
    ON CONFLICT (source, event, filter)
    DO UPDATE SET blocks = control.coverage.blocks + excluded.blocks
    """
).bindparams(*_BIND_STREAMS[:2])


def first_missing(
    connection: Connection,
    source: int,
    streams: Collection[Stream],
    within: BlockRange,
    taken: Collection[BlockRange] = (),
    *,
    span: int = 1000,
) -> dict[Stream, list[BlockRange]]:
    """For streams that lack blocks their lowest gap, less what others have taken.

    Only gaps near the lowest of all are given, and of those at least `span` blocks
    where there are so many: what `next_range` looks at. It takes no longer when
    thousands of streams have thousands of gaps.
    """
    if not streams:
        return {}
    by_name = {(stream.event, stream.filter): stream for stream in streams}
    parameters = {
        "source": source,
        "events": [stream.event for stream in streams],
        "filters": [stream.filter for stream in streams],
        "starts": [stream.start for stream in streams],
        "first": within.first,
        "last": within.last,
    }
    taken_text = "{" + ",".join(f"[{t.first},{t.last}]" for t in taken) + "}"
    lowest = connection.execute(_FIRST_OPEN, parameters).scalar()
    while lowest is not None and lowest <= within.last:
        last = min(lowest + span - 1, within.last)
        window = {"first": lowest, "last": last, "taken": taken_text}
        rows = connection.execute(_FIRST_MISSING, parameters | window).all()
        first = min((row.first for row in rows), default=lowest)
        if first > lowest:
            lowest = first  # so that the gap is not cut short
        elif rows:
            return {by_name[e, f]: [BlockRange(lo, hi)] for e, f, lo, hi in rows}
        else:
            lowest, span = last + 1, span * 4
    return {}


def reached(connection: Connection, source: int, stream: Stream) -> int:
    """The first block that a stream lacks."""
    everything = BlockRange(0, MAX_HEIGHT)
    found = first_missing(connection, source, [stream], everything)
    return found[stream][0].first if found else MAX_HEIGHT + 1


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


def record(
    connection: Connection, source: int, streams: Collection[Stream], blocks: BlockRange
) -> None:
    """Record that a range was written; the rows stay locked until commit."""
    ordered = sorted(streams)
    if ordered:
        connection.execute(
            _MARK,
            {
                "source": source,
                "events": [stream.event for stream in ordered],
                "filters": [stream.filter for stream in ordered],
                "first": blocks.first,
                "last": blocks.last,
            },
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


_READ_OTHERWISE = text(
    """
    SELECT DISTINCT c.event FROM control.coverage c
    WHERE c.source = :source AND c.blocks && int8range(:first, :last, '[]')
        AND NOT EXISTS (
            SELECT FROM unnest(:events, :filters, :starts) AS s(event, filter, start)
            WHERE s.event = c.event AND s.filter = c.filter AND s.start <= :first
        )
    """
).bindparams(*_BIND_STREAMS)


def read_otherwise(
    connection: Connection, source: int, streams: Collection[Stream], blocks: BlockRange
) -> set[str]:
    """The events of which a range was also read through filters no longer planned.

    Their facts may be of an address, or of blocks, that are not followed any more.
    """
    binds = {
        "source": source,
        "events": [stream.event for stream in streams],
        "filters": [stream.filter for stream in streams],
        "starts": [stream.start for stream in streams],
        "first": blocks.first,
        "last": blocks.last,
    }
    return set(connection.execute(_READ_OTHERWISE, binds).scalars())


_UNMARK_FILTERS = text(
    """
    UPDATE control.coverage
    SET blocks = blocks - int8multirange(int8range(:first, NULL))
    WHERE source = :source AND event = ANY(:events) AND filter = ANY(:filters)
        AND blocks && int8range(:first, NULL)
    """
).bindparams(*_BIND_STREAMS[:2])


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


def unmark_filters(
    connection: Connection,
    source: int,
    events: Collection[str],
    filters: Collection[str],
    height: int,
) -> None:
    """Forget that events were read through some filters from a height on."""
    connection.execute(
        _UNMARK_FILTERS,
        {
            "source": source, "events": list(events), "filters": list(filters),
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
