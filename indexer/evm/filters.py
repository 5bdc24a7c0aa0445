"""The followed addresses: the contract of each, and its first block.

Addresses come from the settings or from the logs of factories. A child counts from the
first log of the block that announces it, so that its own earlier logs in that block (a
clone's `Initialized` comes before the factory's `CampaignCreated`) are read, and so
that the answer does not depend on how the chain was cut into ranges. Factories nest to
any depth: a child may be a factory.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.declare import Contract, DeclarationError, Event, FieldKind, FieldRef
from db.declare.evm.signatures import is_announcement
from db.facts import FactColumns
from db.position import height_of
from indexer.evm.abi import layout_of
from indexer.evm.decode import EventDecoder, decoders_for
from indexer.source import Child

_IN_JSON = re.compile(rb'"0x([0-9a-f]{40})"')
MAX_ROUTES = 100_000  # addresses and topics kept in mind, most of them not followed


@dataclass(frozen=True, slots=True)
class FollowedContract:
    """A contract, its configured addresses with their first blocks, and its events."""

    contract: Contract
    addresses: Mapping[bytes, int]
    events: Sequence[type[Event]]


@dataclass(frozen=True, slots=True)
class Announcement:
    """A field of a factory's event that names new instances of a contract."""

    event: type[Event]
    field: str
    contract: str


@dataclass(frozen=True, slots=True)
class DecoderRoute:
    """The decoder of the logs of one address and topic0, from block `start` on."""

    decoder: EventDecoder
    start: int
    announces: Sequence[Announcement]


class Followed:
    """The registry: grows by children, shrinks when their blocks are undone."""

    def __init__(
        self, contracts: Sequence[FollowedContract], children: Iterable[Child] = ()
    ) -> None:
        contracts = _by_name(contracts)
        self._index = {f.contract.name: at for at, f in enumerate(contracts)}
        self._announcements = _announcements(contracts)
        self._announcing_topics = frozenset(
            "0x" + layout_of(a.event.spec.schema).topic0.hex()
            for a in self._announcements
        )
        self._decoders: list[dict[str, list[EventDecoder]]] = []
        self._routes: dict[tuple[str, str], list[DecoderRoute]] = {}  # a cache
        self._static: dict[str, dict[int, int]] = {}
        self._children: dict[str, dict[int, int]] = {}
        for index, followed in enumerate(contracts):
            announced = [
                a.event
                for a in self._announcements
                if a.event.spec.source.name == followed.contract.name
            ]
            events = [*followed.events, *announced]
            self._decoders.append(decoders_for(followed.contract.name, events))
            for address, start in followed.addresses.items():
                self._static.setdefault(_hex(address), {})[index] = start
        for child in children:
            self.add(child)

    def add(self, child: Child) -> bool:
        """Follow a child; returns whether that is new, or from an earlier block."""
        index = self._index.get(child.contract)
        if index is None:
            return False
        starts = self._children.setdefault(_hex(child.address), {})
        if child.height >= starts.get(index, child.height + 1):
            return False
        starts[index] = child.height
        self._routes.clear()
        return True

    def forget_from(self, height: int) -> None:
        """Forget the children announced in this block or later: it was undone."""
        self._routes.clear()
        for address, starts in list(self._children.items()):
            kept = {index: start for index, start in starts.items() if start < height}
            if kept:
                self._children[address] = kept
            else:
                del self._children[address]

    def starts(self, address: str) -> dict[int, int]:
        """Return the first block of each contract (by index) at an address."""
        low = address.lower()
        static, child = self._static.get(low, {}), self._children.get(low, {})
        if not static or not child:
            return static or child
        both = dict(static)
        for index, start in child.items():
            both[index] = min(start, both.get(index, start))
        return both

    def routes(self, address: str, topic0: str) -> list[DecoderRoute]:
        """Return the routes of logs; empty when their address is not followed."""
        known = self._routes.get((address, topic0))
        if known is None:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            known = self._routes[address, topic0] = self._find_routes(address, topic0)
        return known

    def _find_routes(self, address: str, topic0: str) -> list[DecoderRoute]:
        found = []
        topic = topic0.lower()
        for index, start in self.starts(address).items():
            for decoder in self._decoders[index].get(topic, ()):
                announces = [
                    a for a in self._announcements if a.event in decoder.events
                ]
                found.append(DecoderRoute(decoder, start, announces))
        return found

    def topics(self, wanted: Collection[str]) -> list[str]:
        """The topic0s to ask for: those of the wanted events and of all factories."""
        announcing = {a.event.spec.id for a in self._announcements}
        return sorted(
            {
                topic
                for decoders in self._decoders
                for topic, alike in decoders.items()
                if any(
                    e.spec.id in wanted or e.spec.id in announcing
                    for decoder in alike
                    for e in decoder.events
                )
            }
        )

    def addresses(self, last: int, *, announcing: bool = False) -> list[str]:
        """Every followed address that counts at block `last`, in lower-case hex.

        With `announcing` only those of contracts that make others.
        """
        names = self.makers if announcing else self.contracts
        chosen = {self._index[name] for name in names}
        return sorted(
            address
            for address in {*self._static, *self._children}
            if any(
                index in chosen and start <= last
                for index, start in self.starts(address).items()
            )
        )

    @property
    def contracts(self) -> frozenset[str]:
        """The names of all contracts."""
        return frozenset(self._index)

    @property
    def makers(self) -> frozenset[str]:
        """The names of the contracts that make others."""
        return frozenset(a.event.spec.source.name for a in self._announcements)

    @property
    def announcing_topics(self) -> frozenset[str]:
        """The topic0s of all events that announce children."""
        return self._announcing_topics

    @property
    def announces(self) -> bool:
        """Whether any contract is made by a factory."""
        return bool(self._announcements)


def children_in(columns: FactColumns, announcement: Announcement) -> Iterator[Child]:
    """The children that an event's facts announce."""
    column = columns.values[announcement.field]
    listed = announcement.event.spec.fields[announcement.field].kind is FieldKind.JSON
    for cell, position in zip(column, columns.positions.tolist(), strict=True):
        for address in _listed(bytes(cell)) if listed else [bytes(cell)]:
            yield Child(announcement.contract, address, height_of(position))


def _listed(cell: bytes) -> list[bytes]:
    """The addresses in the JSON of a list of them."""
    return [bytes.fromhex(text.decode()) for text in _IN_JSON.findall(cell)]


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _by_name(contracts: Sequence[FollowedContract]) -> list[FollowedContract]:
    """Two domains may declare the same contract: it is followed once."""
    merged: dict[str, FollowedContract] = {}
    for followed in contracts:
        name = followed.contract.name
        before = merged.get(name)
        if before is not None:
            followed = FollowedContract(
                before.contract,
                {**before.addresses, **followed.addresses},
                [*before.events, *followed.events],
            )
        merged[name] = followed
    return list(merged.values())


def _announcements(contracts: Sequence[FollowedContract]) -> list[Announcement]:
    """Return the checked announcements of the factories of all followed contracts."""
    names = {followed.contract.name for followed in contracts}
    found: list[Announcement] = []
    for followed in contracts:
        for maker in followed.contract.makers.values():
            announcement = _announcement(followed.contract.name, maker, names)
            if announcement not in found:
                found.append(announcement)
    return found


def _announcement(
    subject: str, maker: FieldRef, followed: Collection[str]
) -> Announcement:
    factory = maker.view.event.spec
    if factory.source.name not in followed:
        raise DeclarationError(
            subject,
            f"its factory {factory.source.name} is not followed",
            f"give {factory.source.name} an address in the settings",
        )
    part = {each["name"]: each for each in factory.schema["inputs"]}.get(
        maker.field.param
    )
    if part is None or not is_announcement(part) or maker.view.condition is not None:
        raise DeclarationError(
            subject,
            f"created_by={maker.describe()} is not a plain address of an event",
            "name the field that holds the child, an Address or the Json of a list of "
            "addresses; narrow with `where`",
        )
    layout_of(factory.schema)
    return Announcement(maker.view.event, maker.field.name, subject)
