"""Finds what is wrong between sections, each of them right in itself."""

from __future__ import annotations

from collections.abc import Iterator

from db.declare.bare import with_names
from db.declare.signatures import identity, names_of
from db.journal.head import NAME
from ops.settings.model import ContractSettings, Settings


def check(settings: Settings) -> Iterator[str]:
    """Yield every contradiction."""
    yield from _repeated_chains(settings)
    yield from _repeated_addresses(settings)
    for contract in settings.contracts.values():
        yield from _bad_factory(settings, contract)


def _repeated_chains(settings: Settings) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, chain in settings.chains.items():
        if name == NAME:
            yield f"chains.{name}: that is the journal's name; give it another"
        if chain.id and chain.id in first:
            yield (
                f"chains.{name}.id: {chain.id} is already chains.{first[chain.id]}: "
                f"one chain is followed once, with all its endpoints in rpc"
            )
        first.setdefault(chain.id, name)


def _repeated_addresses(settings: Settings) -> Iterator[str]:
    for chain_name, chain in settings.chains.items():
        first: dict[bytes, str] = {}
        for place, address in [
            *(
                (f"chains.{chain_name}.contracts.{name}", deployment.address)
                for name, deployments in chain.contracts.items()
                for deployment in deployments
            ),
            *(
                (f"contracts.{name}", address)
                for name, contract in settings.contracts.items()
                if contract.chain == chain_name
                for address in contract.addresses
            ),
        ]:
            if address in first:
                yield (
                    f"{place}: 0x{address.hex()} is already {first[address]}: an "
                    f"address on a chain is one contract"
                )
            first.setdefault(address, place)


def _bad_factory(settings: Settings, contract: ContractSettings) -> Iterator[str]:
    factory = contract.factory
    if factory is None:
        return
    place = f"contracts.{contract.name}.factory"
    chain = settings.chains.get(contract.chain)
    declared = set(chain.contracts) if chain is not None else set()
    named = settings.contracts.get(factory.contract)
    if factory.contract == contract.name:
        yield f"{place}: a contract cannot be its own factory"
    elif factory.contract in declared:
        return
    elif named is None:
        known = sorted({*settings.contracts, *declared} - {contract.name})
        yield (
            f"{place}: no contract {factory.contract!r}; known: "
            f"{', '.join(known) or 'none'}"
        )
    elif named.chain != contract.chain:
        yield f"{place}: {factory.contract} is on chain {named.chain!r}, not this one"
    elif named.abi:
        yield from _bad_announcement(place, contract, named)


def _bad_announcement(
    place: str, contract: ContractSettings, maker: ContractSettings
) -> Iterator[str]:
    """Check the factory's event against the ABI of the contract that emits it."""
    if contract.factory is None:
        return
    event, param = contract.factory.event, contract.factory.param
    events = [with_names(e) for e in maker.abi if e.get("type") == "event"]
    called = [entry for entry in events if event in names_of(entry)]
    if not called:
        known = ", ".join(sorted(str(entry["name"]) for entry in events)) or "none"
        yield f"{place}: {maker.name} has no event {event!r}; it has: {known}"
        return
    addresses = {
        identity(entry): [i["name"] for i in entry["inputs"] if i["type"] == "address"]
        for entry in called
    }
    fitting = [spelled for spelled, found in addresses.items() if param in found]
    if not fitting:
        known = ", ".join(name for found in addresses.values() for name in found)
        yield (
            f"{place}: {event} has no address parameter {param!r}; it has: "
            f"{known or 'none'}"
        )
    elif len(fitting) > 1:
        yield (
            f"{place}: {maker.name} has {len(fitting)} events {event!r} with a "
            f"{param!r}: write event = {' or '.join(map(repr, fitting))}"
        )
