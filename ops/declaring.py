"""From settings to declarations without code: tables, and commands of contracts."""

import difflib
from collections.abc import Iterator

import abis
from db.declare import Command, DeclarationError, Event, Projection, Role
from db.declare.evm.bare_commands import PlainCall, declare_command
from db.declare.evm.signatures import names_of
from db.declare.text import read_projection
from db.registry import Registry
from ops.settings import ContractCommand, ContractSettings, Settings


def declare_tables(
    settings: Settings, registry: Registry
) -> Iterator[type[Projection]]:
    """The projections of `[tables.*]`, over the events of a registry."""
    public = [e for e in registry.events.values() if not e.spec.in_journal]
    for each in settings.tables.values():
        yield read_projection(
            each.name, each.columns, public, index=each.index, doc=each.doc
        )


def declare_commands(settings: Settings, registry: Registry) -> Iterator[type[Command]]:
    """The commands of `[contracts.*.commands.*]`; raises DeclarationError."""
    for contract in settings.contracts.values():
        if contract.commands:
            abis.remember(contract.name, [dict(entry) for entry in contract.abi])
        for command in contract.commands:
            yield _command(contract, command, registry)


def _command(
    contract: ContractSettings, declared: ContractCommand, registry: Registry
) -> type[Command]:
    place = f"[contracts.{contract.name}.commands.{declared.name}]"
    for role in declared.roles:
        if role not in registry.roles:
            raise _unknown(place, "role", role, list(registry.roles))
    one_address = not contract.factories and all(
        len(addresses) == 1 for addresses in contract.addresses.values()
    )
    plain = PlainCall(
        contract=contract.name,
        name=declared.name,
        function=declared.function,
        roles=tuple(Role(role) for role in declared.roles),
        signer=declared.signer,
        proof=None
        if declared.proof is None
        else _proof(place, contract, declared, registry),
        doc=declared.doc,
        one_address=one_address,
    )
    return declare_command(plain, contract.abi)


def _proof(
    place: str,
    contract: ContractSettings,
    declared: ContractCommand,
    registry: Registry,
) -> type[Event]:
    """The event of the contract that shows that the command was done."""
    events = registry.events_of(contract.name)
    for event in events:
        if declared.proof in names_of(event.spec.schema):
            return event
    known = [str(event.spec.schema["name"]) for event in events]
    raise _unknown(place, "event", str(declared.proof), known)


def _unknown(place: str, kind: str, word: str, known: list[str]) -> DeclarationError:
    close = difflib.get_close_matches(word, known, n=1)
    return DeclarationError(
        kind,
        f"there is no {kind} {word!r}",
        f"write {close[0]!r}" if close else f"use one of {', '.join(known)}",
        place,
    )
