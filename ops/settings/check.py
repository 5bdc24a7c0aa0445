"""Find contradictions between sections of the settings."""

from __future__ import annotations

from collections.abc import Iterator

from db.declare.evm.bare import with_names
from db.declare.evm.bare_commands import CALLER_NAME
from db.declare.evm.signatures import identity, is_announcement, names_of
from db.journal.head import NAME
from ops.settings.model import ContractSettings, Factory, Settings
from ops.settings.tree import nearest


def check(settings: Settings) -> Iterator[str]:
    """Yield every contradiction."""
    yield from _repeated_chains(settings)
    yield from _repeated_addresses(settings)
    yield from _repeated_keys(settings)
    for contract in settings.contracts.values():
        yield from _bad_factories(settings, contract)
    yield from _made_by_nobody(settings)
    yield from _signed_by_nobody(settings)


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
                for address in contract.addresses.get(chain_name, ())
            ),
            *(
                (f"chains.{chain_name}.programs.{name}", deployment.address)
                for name, deployments in chain.programs.items()
                for deployment in deployments
            ),
            *(
                (f"programs.{name}", address)
                for name, program in settings.programs.items()
                for address in program.addresses.get(chain_name, ())
            ),
        ]:
            if address in first:
                yield (
                    f"{place}: {chain.encoding.text(address)} is already "
                    f"{first[address]}: an address on a chain is one contract"
                )
            first.setdefault(address, place)


def _repeated_keys(settings: Settings) -> Iterator[str]:
    """Find keys that are followed twice for their token movements, or their fees.

    A wallet is followed with its token movements, so it is not in `tokens` too.

    One may be that of a program, whose transactions are then looked at for both.
    """
    for chain in settings.chains.values():
        moving = [("tokens", chain.tokens), ("wallets", chain.wallets)]
        for sections in (moving, [("payers", chain.payers)]):
            first: dict[bytes, str] = {}
            for section, name, deployments in (
                (section, name, deployments)
                for section, named in sections
                for name, deployments in named.items()
            ):
                place = f"chains.{chain.name}.{section}.{name}"
                for each in deployments:
                    if each.address in first:
                        yield (
                            f"{place}: {chain.encoding.text(each.address)} is already "
                            f"{first[each.address]}: once is enough"
                        )
                    first.setdefault(each.address, place)


def _bad_factories(settings: Settings, contract: ContractSettings) -> Iterator[str]:
    """Check that factories are on every chain of the contract, and announce it."""
    place = f"contracts.{contract.name}.factory"
    for factory in contract.factories:
        named = settings.contracts.get(factory.contract)
        for name in contract.chains:
            chain = settings.chains.get(name)
            declared = set(chain.contracts) if chain is not None else set()
            if factory.contract in declared:
                continue
            if named is None:
                known = sorted({*settings.contracts, *declared} - {contract.name})
                yield (
                    f"{place}: no contract {factory.contract!r} on chain {name!r}; "
                    f"known: {', '.join(known) or 'none'}"
                )
            elif name not in named.chains:
                yield (
                    f"{place}: {factory.contract} is on chain "
                    f"{' and '.join(map(repr, named.chains))}, not on {name!r}: write "
                    f'"{name}" into its chain, or take it out of this one\'s'
                )
        if named is not None and named.abi:
            yield from _bad_announcement(place, factory, named)


def _signed_by_nobody(settings: Settings) -> Iterator[str]:
    """Find commands of contracts whose signer is not among the signers."""
    known = sorted([*settings.signers, CALLER_NAME])
    for contract in settings.contracts.values():
        for command in contract.commands:
            if command.signer and command.signer not in known:
                yield (
                    f"contracts.{contract.name}.commands.{command.name}.signer: no "
                    f"signer {command.signer!r}; {nearest(command.signer, known)}"
                )


def _made_by_nobody(settings: Settings) -> Iterator[str]:
    """Find contracts whose factories lead to no contract with an address."""
    for chain in settings.chains:
        waiting = {
            name: contract
            for name, contract in settings.contracts.items()
            if chain in contract.chains and not contract.addresses.get(chain)
        }
        while found := [
            name
            for name, contract in waiting.items()
            if any(each.contract not in waiting for each in contract.factories)
        ]:
            for name in found:
                del waiting[name]
        if made := [name for name, contract in waiting.items() if contract.factories]:
            yield (
                f"contracts.{made[0]}.factory: on chain {chain!r} nothing but "
                f"{' and '.join(made)} announces {made[0]}: give {made[0]} an address "
                "too, or another factory"
            )


def _bad_announcement(
    place: str, factory: Factory, maker: ContractSettings
) -> Iterator[str]:
    """Check a factory's event against the ABI of the contract that emits it."""
    event, param = factory.event, factory.param
    events = [with_names(e) for e in maker.abi if e.get("type") == "event"]
    called = [entry for entry in events if event in names_of(entry)]
    if not called:
        known = ", ".join(sorted(str(entry["name"]) for entry in events)) or "none"
        yield f"{place}: {maker.name} has no event {event!r}; it has: {known}"
        return
    addresses = {
        identity(entry): [i["name"] for i in entry["inputs"] if is_announcement(i)]
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
            f"{param!r}: write event = {' or '.join(map(repr, fitting))}, or a list of "
            "factories with one each"
        )
