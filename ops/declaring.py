"""From settings to declarations without code: tables, commands, meanings of values."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

import abis
from db.declare import Command, DeclarationError, Event, Projection, Role
from db.declare.evm.bare_commands import PlainCall, declare_command, plain_functions
from db.declare.evm.signatures import names_of
from db.declare.given_meanings import Carrier, check_meanings, give_meanings
from db.declare.text import read_projection
from db.registry import Registry
from ops.settings import (
    ContractCommand,
    ContractSettings,
    ProgramSettings,
    Settings,
)


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


def give_event_meanings(
    emitter: ContractSettings | ProgramSettings, events: Iterable[type[Event]]
) -> None:
    """Give the events of a contract or program the meanings that its section has."""
    for event in events:
        give_meanings(emitter.meanings, _carrier(event))


def check_given_meanings(settings: Settings, registry: Registry) -> None:
    """Raise DeclarationError for a meaning of what no event and no function has."""
    for name, contract in settings.contracts.items():
        if contract.meanings:
            carriers = [_carrier(event) for event in registry.events_of(name)]
            carriers += plain_functions(contract.abi)
            place = f"[contracts.{name}.meanings]"
            check_meanings(place, contract.meanings, carriers)
    for name, program in settings.programs.items():
        carriers = [_carrier(event) for event in registry.events_of(name)]
        check_meanings(f"[programs.{name}.meanings]", program.meanings, carriers)


def _carrier(event: type[Event]) -> Carrier:
    schema = event.spec.schema
    names = names_of(schema) if isinstance(schema, Mapping) else (schema.name,)
    return (event.spec.name, *names), event.spec.fields


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
        meanings=contract.meanings,
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
