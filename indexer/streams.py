"""The streams of a chain: each declared event, by each filter it is read with."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from db.coverage import Stream
from db.declare import FieldRef
from db.declare.emitters import Emitter
from db.declare.solana.tokens import TOKENS
from db.registry import Registry
from db.solana.wallets import WALLET

BLOCKS = "chain.blocks"
TRANSACTIONS = "chain.transactions"
CHILDREN = "children:"  # of the event field that announces them
FACTORY = "factory:"  # likewise, as the filter of an event of the children


@dataclass(frozen=True, slots=True)
class Wanted:
    """The settings of what to read from one chain.

    `addresses` maps the name of a contract to its addresses, each with its first block.
    `absent` are contracts of other chains: none is followed, whatever announces it.
    `wallets` are followed with all their token accounts, each from its first block.
    """

    start: int
    addresses: Mapping[str, Mapping[bytes, int]]
    watch_senders: frozenset[bytes] = frozenset()
    absent: frozenset[str] = frozenset()
    wallets: Mapping[bytes, int] = field(default_factory=dict)


def plan_streams(registry: Registry, wanted: Wanted) -> list[Stream]:
    """The streams of a chain; contracts that are not on it have none.

    The blocks themselves are a stream, so that a chain without contracts is followed
    too, and the children that a field of an event announces are one: it says up to
    where all contracts that it announces are known.
    """
    streams = [Stream(BLOCKS, "", wanted.start)]
    streams += wallet_streams(dict.fromkeys(wanted.watch_senders, wanted.start))
    events = [e for e in registry.events.values() if not e.spec.in_journal]
    emitters = registry.emitters
    places = {name: _places(each, wanted, ()) for name, each in emitters.items()}
    for event in events:
        spec = event.spec
        heights = spec.source.heights(spec.schema)
        least = heights[0][0] if heights else 0
        streams += [
            Stream(spec.id, filter_, max(start, least))
            for filter_, start in places[spec.source.name]
        ]
    makers: dict[str, FieldRef] = {}
    for emitter in emitters.values():
        if emitter.name not in wanted.absent:
            makers |= emitter.makers
    for name, maker in makers.items():
        announced = places[maker.view.event.spec.source.name]
        if announced:
            start = min(start for _, start in announced)
            streams.append(Stream(CHILDREN + name, "", start))
    return sorted(streams)


def wallet_streams(wallets: Mapping[bytes, int]) -> list[Stream]:
    """The streams of the transactions of accounts, each from its first block on."""
    return [
        Stream(TRANSACTIONS, "0x" + wallet.hex(), start)
        for wallet, start in wallets.items()
    ]


def events_of(streams: Collection[Stream]) -> list[str]:
    """The ids of the declared events among streams."""
    own = (BLOCKS, TRANSACTIONS)
    return sorted(
        {
            stream.event
            for stream in streams
            if stream.event not in own and not stream.event.startswith(CHILDREN)
        }
    )


def _places(
    emitter: Emitter, wanted: Wanted, above: tuple[str, ...]
) -> list[tuple[str, int]]:
    """The filters that an emitter's events are read with, each with its first block.

    `above` are the events that led here, of which none announces its own factory.
    """
    if emitter.name in wanted.absent:
        return []
    found = [
        (emitter.encoding.text(address), start)
        for address, start in wanted.addresses.get(emitter.name, {}).items()
    ]
    if emitter.name == TOKENS:
        found += [
            (WALLET + emitter.encoding.text(wallet), start)
            for wallet, start in wanted.wallets.items()
        ]
    for name, maker in emitter.makers.items():
        factory = maker.view.event.spec
        if factory.id in above:
            continue
        announced = _places(factory.source, wanted, (*above, factory.id))
        if announced:
            found.append((FACTORY + name, min(start for _, start in announced)))
    return found
