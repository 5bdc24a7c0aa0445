"""The streams of a chain: each declared event, by each filter it is read with."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from db.coverage import Stream
from db.declare import Event, FieldRef
from db.registry import Registry

BLOCKS = "chain.blocks"
TRANSACTIONS = "chain.transactions"
CHILDREN = "children:"  # of the event field that announces them
FACTORY = "factory:"  # likewise, as the filter of an event of the children


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of the settings that says what to read from one chain.

    `addresses` maps the name of a contract to its addresses, each with its first block.
    `absent` are contracts of other chains: none is followed, whatever announces it.
    """

    start: int
    addresses: Mapping[str, Mapping[bytes, int]]
    watch_senders: frozenset[bytes] = frozenset()
    absent: frozenset[str] = frozenset()


def plan_streams(registry: Registry, wanted: Wanted) -> list[Stream]:
    """The streams of a chain; contracts that are not on it have none.

    The blocks themselves are a stream, so that a chain without contracts is followed
    too, and the children that a field of an event announces are one: it says up to
    where all contracts that it announces are known.
    """
    streams = [Stream(BLOCKS, "", wanted.start)]
    streams += wallet_streams(dict.fromkeys(wanted.watch_senders, wanted.start))
    events = [e for e in registry.events.values() if not e.spec.in_journal]
    for event in events:
        streams += _event_streams(event, wanted, ())
    makers: dict[str, FieldRef] = {}
    for contract in registry.emitters.values():
        if contract.name not in wanted.absent:
            makers |= contract.makers
    for name, maker in makers.items():
        starts = [s.start for s in _event_streams(maker.view.event, wanted, ())]
        if starts:
            streams.append(Stream(CHILDREN + name, "", min(starts)))
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


def _event_streams(
    event: type[Event], wanted: Wanted, above: tuple[str, ...]
) -> list[Stream]:
    contract = event.spec.source
    if contract.name in wanted.absent:
        return []
    streams = [
        Stream(event.spec.id, contract.encoding.text(address), start)
        for address, start in wanted.addresses.get(contract.name, {}).items()
    ]
    for name, maker in contract.makers.items():
        factory = maker.view.event
        if factory.spec.id in above:
            continue
        announced = _event_streams(factory, wanted, (*above, factory.spec.id))
        if announced:
            start = min(stream.start for stream in announced)
            streams.append(Stream(event.spec.id, FACTORY + name, start))
    return streams
