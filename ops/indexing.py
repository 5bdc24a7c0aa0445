"""From settings to chains that can be followed: declarations, sources, places."""

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy import Engine

from commands.evm.signers import signer_from_key
from db import sources
from db.coverage import Stream
from db.declare import Event, EventView, FieldRef, TokenMoved
from db.declare.evm.bare import declare_events
from db.declare.evm.signatures import is_announcement, names_of
from db.declare.naming import emitter_domain
from db.declare.solana.bare import declare_program
from db.declare.solana.fees import FEES, FeePaid
from db.declare.solana.tokens import TOKENS
from db.engine import connect
from db.registry import NAME_LENGTH_MAX, Registry
from indexer.chain import Chain
from indexer.errors import Permanent
from indexer.follow import check_genesis, stop_chain
from indexer.source import Child
from indexer.streams import Wanted, plan_streams
from ops.chains import kind_of
from ops.chains.solana.source import followed_wallets
from ops.declaring import (
    check_given_meanings,
    declare_commands,
    declare_tables,
    give_event_meanings,
)
from ops.errors import OperationError
from ops.settings import (
    SOLANA,
    ChainSettings,
    ContractSettings,
    Deployment,
    Factory,
    ProgramSettings,
    Settings,
    SignerKind,
    load_settings,
)


def declared(settings: Settings) -> Registry:
    """Return all declarations: of the chosen domains, and of the settings."""
    registry = Registry.load(settings.domains, settings.declarations)
    registry = registry.with_settings(settings.of_domains)
    chains = settings.chains.values()
    own: list[type[Event]] = []
    own += [TokenMoved] if any(c.tokens or c.wallets for c in chains) else []
    own += [FeePaid] if any(chain.payers for chain in chains) else []
    registry = registry.with_events(
        [event for event in own if event.spec.id not in registry.events]
    )
    _check_names(settings, registry)
    events: list[type[Event]] = []
    for contract in settings.contracts.values():
        found = declare_events(contract.name, contract.abi, tagged=contract.tagged)
        give_event_meanings(contract, found)
        events += _fitting("contracts", found)
    for program in settings.programs.values():
        if program.idl:
            found = declare_program(program.name, program.idl)
            give_event_meanings(program, found)
            events += _fitting("programs", found)
    registry = registry.with_events(events)
    contracts = registry.contracts
    for name, contract in settings.contracts.items():
        makers = [_announcement(name, each, registry) for each in contract.factories]
        if name in contracts:
            contracts[name].make_by(makers)
    check_given_meanings(settings, registry)
    return registry.with_events(
        projections=declare_tables(settings, registry),
        commands=declare_commands(settings, registry),
    )


def _fitting(section: str, events: list[type[Event]]) -> list[type[Event]]:
    """The events; raises when the name of what emits them is too long for tables."""
    longest = max((len(event.spec.table) for event in events), default=0)
    if longest > NAME_LENGTH_MAX:
        raise OperationError(
            f"[{section}.{events[0].spec.source.name}]: the name is too long for the "
            "tables of its events, which begin with it: give it one that is "
            f"{longest - NAME_LENGTH_MAX} characters shorter"
        )
    return events


def _check_names(settings: Settings, registry: Registry) -> None:
    """Raise when a section's name is used for something else too.

    Its events would be read in the place of declared ones, or share their tables.
    """
    domains = {event.spec.domain for event in registry.events.values()}
    taken: dict[str, str] = {}
    for section, emitter in _own(settings):
        name, domain = emitter.name, emitter_domain(emitter.name)
        place = f"[{section}.{name}]"
        other = taken.setdefault(domain, place)
        if name in registry.emitters:
            what = f"there is a declared {section[:-1]} {name}"
        elif domain in domains:
            what = f"there is a domain {domain}, whose tables begin like its own"
        elif other != place:
            what = f"its tables would be those of {other}"
        else:
            continue
        raise OperationError(f"{place}: {what}: give it another name")


def _own(
    settings: Settings,
) -> Iterator[tuple[str, ContractSettings | ProgramSettings]]:
    """The emitters that the settings declare, each with the name of its section."""
    for contract in settings.contracts.values():
        yield "contracts", contract
    for program in settings.programs.values():
        yield "programs", program


def wanted(settings: Settings, chain: ChainSettings, registry: Registry) -> Wanted:
    """The part of the settings about one chain; raises for unknown names."""
    addresses: dict[str, dict[bytes, int]] = {}
    for name, deployments in _deployed(chain, registry):
        addresses[name] = {
            each.address: chain.start_block if each.start is None else each.start
            for each in deployments
        }
    absent = set()
    for _, emitter in _own(settings):
        if chain.name in emitter.chains:
            found = emitter.addresses.get(chain.name, ())
            addresses[emitter.name] = dict.fromkeys(found, _start(emitter, chain))
        else:
            absent.add(emitter.name)
    addresses |= _looked_at(settings, chain, addresses)
    watched = frozenset(chain.watch_senders)
    if chain.namespace != SOLANA:
        watched |= _signer_addresses(settings)
    return Wanted(
        chain.start_block, addresses, watched, frozenset(absent),
        followed_wallets(chain),
    )  # fmt: skip


def _start(emitter: ContractSettings | ProgramSettings, chain: ChainSettings) -> int:
    return max(emitter.starts.get(chain.name, 0), chain.start_block)


def _looked_at(
    settings: Settings,
    chain: ChainSettings,
    programs: Mapping[str, Mapping[bytes, int]],
) -> dict[str, dict[bytes, int]]:
    """The addresses whose transactions are looked at, by what is looked for in them.

    That is token movements, fees, and programs that are followed by accounts. An
    address that is a program's, too, is looked at from the program's first slot on.
    """
    found: dict[str, dict[bytes, int]] = {}
    for name, program in settings.programs.items():
        if accounts := program.accounts.get(chain.name):
            found[name] = dict.fromkeys(accounts, _start(program, chain))
    for name, section in ((TOKENS, chain.tokens), (FEES, chain.payers)):
        for each in itertools.chain(*section.values()):
            start = chain.start_block if each.start is None else each.start
            found.setdefault(name, {})[each.address] = start
    known = {
        key: start
        for name, starts in programs.items()
        if name not in found
        for key, start in starts.items()
    }
    return {
        name: {key: max(at, known.get(key, at)) for key, at in starts.items()}
        for name, starts in found.items()
    }


def _deployed(
    chain: ChainSettings, registry: Registry
) -> Iterator[tuple[str, tuple[Deployment, ...]]]:
    """The addresses of declared contracts or programs; raises for another name."""
    known = set(registry.contracts)
    there, place = chain.contracts, f"[chains.{chain.name}.contracts]"
    remedy = "its ABI alone write [contracts.<name>] with abi and address"
    if chain.namespace == SOLANA:
        known = registry.emitters.keys() - known - {TOKENS, FEES}
        there, place = chain.programs, f"[chains.{chain.name}.programs]"
        remedy = "its IDL alone write [programs.<name>] with idl and address"
    for name, deployments in there.items():
        if name not in known:
            raise OperationError(
                f"{place} {name}: nothing of that name is declared. There is "
                f"{', '.join(sorted(known)) or 'none'}. To follow it by {remedy}."
            )
        yield name, deployments


def _signer_addresses(settings: Settings) -> frozenset[bytes]:
    """Our own signers: their transactions are what commands are proved by."""
    found = set()
    for signer in settings.signers.values():
        chain = settings.chains.get(signer.chain)
        if chain is not None and chain.namespace == SOLANA:
            continue  # its transactions are listed for the programs that they call
        if signer.address is not None:
            found.add(signer.address)
        elif signer.kind is SignerKind.ENV and signer.secret is not None:
            found.add(signer_from_key(signer.name, signer.secret.value).address)
        else:
            raise OperationError(
                f"[signers.{signer.name}] address: it is needed, so that the indexer "
                "can follow what the signer sends"
            )
    return frozenset(found)


def streams(
    settings: Settings, registry: Registry
) -> dict[str, tuple[ChainSettings, list[Stream]]]:
    """The streams of every chain, by its name."""
    return {
        name: (chain, plan_streams(registry, wanted(settings, chain, registry)))
        for name, chain in settings.chains.items()
    }


@asynccontextmanager
async def open_chain(
    settings: Settings, name: str, engine: Engine, registry: Registry
) -> AsyncIterator[Chain]:
    """Open a chain on a migrated database: registered, its block 0 the one we know."""
    chain = settings.chains[name]
    kind = kind_of(chain)
    plan = wanted(settings, chain, registry)
    with engine.begin() as connection:
        row = sources.register(
            connection, name=name, chain_id=chain.id, ordinals=kind.ordinals(chain)
        )
        known = [Child(*each) for each in sources.children(connection, row.id)]
    source = kind.open_source(settings, chain, engine, registry, plan, row, known)
    opened = Chain(
        engine, registry, source, row.id, plan_streams(registry, plan),
        range_blocks=kind.range_blocks(settings),
        batch_facts=settings.limits.batch_facts,
    )  # fmt: skip
    try:
        try:
            await check_genesis(opened, chain.genesis)
        except Permanent as error:
            await stop_chain(opened, error)
            raise
        await kind.begin(opened, chain, row)
        yield opened
    finally:
        opened.drop_ahead()
        await source.close()


@asynccontextmanager
async def reopen_chain(path: str | None, url: str, name: str) -> AsyncIterator[Chain]:
    """Open a chain in a worker process, which gets only names."""
    settings = load_settings(path)
    engine = connect(url, pool_size=2)
    try:
        async with open_chain(settings, name, engine, declared(settings)) as chain:
            yield chain
    finally:
        engine.dispose()


def _announcement(name: str, factory: Factory, registry: Registry) -> FieldRef:
    """The event field that announces children of a contract in the settings."""
    for event in registry.events_of(factory.contract):
        abi = event.spec.schema
        params = {i["name"] for i in abi["inputs"] if is_announcement(i)}
        if factory.event not in names_of(abi) or factory.param not in params:
            continue
        for field in event.spec.fields.values():
            if field.param == factory.param:
                return FieldRef(EventView(event), field)
    raise OperationError(
        f"[contracts.{name}] factory: {factory.contract} has no event {factory.event} "
        f"with a parameter {factory.param} that is an address, or a list of them that "
        "is not indexed. Look at the factory's ABI."
    )
