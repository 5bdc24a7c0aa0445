"""From logs to decoders: grouping by address and topic, and finding children.

`Router.route` takes the logs of one answer. First the factories' logs are decoded and
their children followed, again and again until there is no new one; then every log that
anybody follows goes to its decoder. So a child's own logs are read even when they stand
before its announcement in the same block.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from db.facts import FactColumns
from db.position import height_of
from indexer.evm.blocks import Placed
from indexer.evm.decode import EventDecoder, Logs, Piece
from indexer.evm.filters import Announcement, DecoderRoute, Followed, children_in
from indexer.source import Child, UndecodableLog

Buckets = dict[tuple[str, str], list[int]]


@dataclass(slots=True)
class Routed:
    """The decoded parts of a range so far."""

    pieces: dict[EventDecoder, list[Piece]] = field(default_factory=dict)
    children: dict[tuple[str, bytes], Child] = field(default_factory=dict)
    undecodable: dict[int, UndecodableLog] = field(default_factory=dict)
    unknown_topics: int = 0

    def facts(self, wanted: Collection[str]) -> list[FactColumns]:
        """The columns of every wanted event that happened."""
        return [
            columns
            for decoder, pieces in self.pieces.items()
            for columns in decoder.columns(pieces, wanted)
        ]

    def found(self) -> list[Child]:
        """The children announced, in order of their first announcements."""
        return sorted(self.children.values(), key=lambda c: (c.height, c.address))

    def announce(self, child: Child) -> None:
        """Keep a child by its first announcement."""
        key = (child.contract, child.address)
        before = self.children.get(key)
        if before is None or child.height < before.height:
            self.children[key] = child


class Router:
    """Routes logs to decoders; announced children are followed from then on."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed

    def discover(self, placed: Placed, routed: Routed) -> list[Child]:
        """Follow the children announced in these logs; returns those that are new."""
        return self._discover(placed, _buckets(placed), routed)

    def route(self, placed: Placed, routed: Routed) -> None:
        """Decode the logs of one answer into `routed`."""
        buckets = _buckets(placed)
        self._discover(placed, buckets, routed)
        work: dict[EventDecoder, list[int]] = {}
        for (address, topic0), indexes in buckets.items():
            routes = self._followed.routes(address, topic0)
            if not routes and self._followed.starts(address):
                routed.unknown_topics += len(indexes)
            for decoder, own in _split(routes, indexes, placed):
                work.setdefault(decoder, []).extend(own)
        for decoder, indexes in work.items():
            piece, bad = decoder.read(_group(placed, sorted(indexes)))
            routed.pieces.setdefault(decoder, []).append(piece)
            routed.undecodable.update((log.position, log) for log in bad)

    def _discover(
        self, placed: Placed, buckets: Buckets, routed: Routed
    ) -> list[Child]:
        if not self._followed.announces:
            return []
        topics = self._followed.announcing_topics
        waiting = [key for key in buckets if key[1].lower() in topics]
        new: list[Child] = []
        grown = True
        while grown:
            grown = False
            for address, topic0 in waiting:
                routes = self._followed.routes(address, topic0)
                indexes = buckets[address, topic0]
                for child in self._announced(routes, indexes, placed):
                    routed.announce(child)
                    if self._followed.add(child):
                        new.append(child)
                        grown = True
        return new

    def _announced(
        self, routes: list[DecoderRoute], indexes: list[int], placed: Placed
    ) -> list[Child]:
        found: list[Child] = []
        announces = {r.decoder: r.announces for r in routes if r.announces}
        for decoder, own in _split(routes, indexes, placed):
            if decoder in announces:
                group = _group(placed, own)
                found += _children(decoder, group, announces[decoder])
        return found


def _children(
    decoder: EventDecoder, group: Logs, announcements: Sequence[Announcement]
) -> list[Child]:
    """The children in these logs, also in those that cannot be read otherwise."""
    piece, bad = decoder.read(group)
    lost = {log.position for log in bad if not log.kept}
    ids = {announcement.event.spec.id for announcement in announcements}
    by_event = {c.event.spec.id: c for c in decoder.columns([piece], ids)}
    found: list[Child] = []
    for announcement in announcements:
        columns = by_event.get(announcement.event.spec.id)
        if columns is not None:
            found += children_in(columns, announcement)
        if lost and not announcement.event.spec.where:
            found += _children_lost(decoder, group, lost, announcement)
    return found


def _children_lost(
    decoder: EventDecoder, group: Logs, lost: set[int], announcement: Announcement
) -> Iterator[Child]:
    """The children in the logs at the positions `lost`, which are no facts."""
    field = announcement.event.spec.fields[announcement.field]
    param = decoder.layout.param(str(field.param))
    for log, position in zip(group.logs, group.positions.tolist(), strict=True):
        if position in lost:
            for address in decoder.addresses_in(log, param):
                yield Child(announcement.contract, address, height_of(position))


def _buckets(placed: Placed) -> Buckets:
    """The indexes of the logs of each address and topic0, both as received.

    Logs without topics (of anonymous events) are under the topic "".
    """
    found: Buckets = defaultdict(list)
    for index, log in enumerate(placed.logs):
        topics = log.topics
        found[log.address, topics[0] if topics else ""].append(index)
    return found


def _split(
    routes: list[DecoderRoute], indexes: list[int], placed: Placed
) -> list[tuple[EventDecoder, list[int]]]:
    """Give each decoder its logs: from its start on, and by the number of topics.

    The count matters only when an address has two events with the same topic0, as
    ERC-20 and ERC-721 have `Transfer`.
    """
    if len(routes) == 1 and placed.heights[indexes[0]] >= routes[0].start:
        return [(routes[0].decoder, indexes)]
    counts = {route.decoder.layout.topics for route in routes}
    found = []
    for at, route in enumerate(routes):
        own = indexes
        if placed.heights[indexes[0]] < route.start:
            own = [i for i in own if placed.heights[i] >= route.start]
        if len(counts) > 1:
            expected = route.decoder.layout.topics
            own = [
                i
                for i in own
                if (n := len(placed.logs[i].topics)) == expected
                or (at == 0 and n not in counts)
            ]
        if own:
            found.append((route.decoder, own))
    return found


def _group(placed: Placed, indexes: list[int]) -> Logs:
    if len(indexes) == len(placed.logs):
        return Logs(placed.logs, placed.positions, placed.times)
    at = np.array(indexes, dtype=np.int64)
    logs = [placed.logs[i] for i in indexes]
    return Logs(logs, placed.positions[at], placed.times[at])
