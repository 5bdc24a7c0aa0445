"""The streams of a chain: each declared event, by each filter it is read with."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from db.coverage import Stream
from db.declare import Event
from db.registry import Registry

BLOCKS = "chain.blocks"
TRANSACTIONS = "chain.transactions"
CHILDREN = "children:"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of the settings that says what to read from one chain.

    `addresses` maps the name of a contract to its addresses, each with its first block.
    """

    start: int
    addresses: Mapping[str, Mapping[bytes, int]]
    watch_senders: frozenset[bytes] = frozenset()


def plan_streams(registry: Registry, wanted: Wanted) -> list[Stream]:
    """The streams of a chain; contracts that are not on it have none.

    The blocks themselves are a stream, so that a chain without contracts is followed
    too, and the children of each factory are one: it says up to where all contracts
    that the factory made are known.
    """
    streams = [Stream(BLOCKS, "", wanted.start)]
    streams += wallet_streams(dict.fromkeys(wanted.watch_senders, wanted.start))
    events = [e for e in registry.events.values() if not e.spec.in_journal]
    for event in events:
        streams += _event_streams(event, wanted, ())
    factories = {
        factory.spec.id: factory
        for event in events
        if (factory := event.spec.source.factory) is not None
    }
    for factory in factories.values():
        starts = [s.start for s in _event_streams(factory, wanted, ())]
        if starts:
            streams.append(Stream(CHILDREN + factory.spec.id, "", min(starts)))
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
    streams = [
        Stream(event.spec.id, "0x" + address.hex(), start)
        for address, start in wanted.addresses.get(contract.name, {}).items()
    ]
    factory = contract.factory
    if factory is not None and factory.spec.id not in above:
        announced = _event_streams(factory, wanted, (*above, factory.spec.id))
        if announced:
            start = min(stream.start for stream in announced)
            streams.append(Stream(event.spec.id, f"factory:{factory.spec.id}", start))
    return streams
