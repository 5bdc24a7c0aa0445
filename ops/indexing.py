"""From settings to chains that can be followed: declarations, sources, places."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from commands.evm.signers import signer_from_key
from db import sources, validators
from db.coverage import Stream
from db.declare import Event, EventView, FieldRef
from db.declare.bare import declare_events, domain_of
from db.declare.signatures import is_announcement, names_of
from db.engine import connect
from db.limits import load_limits, save_limits
from db.registry import NAME_LENGTH_MAX, Registry
from db.validators import ValidatorSet
from indexer.chain import Chain
from indexer.errors import IndexerError, Permanent
from indexer.evm.client import ATTEMPTS, RpcClient
from indexer.evm.filters import FollowedContract
from indexer.evm.finality import Depth, Ibft, Tag
from indexer.evm.finality import Finality as EvmFinality
from indexer.evm.ibft import Validator, ValidatorState
from indexer.evm.limits import Limits
from indexer.evm.proofs import Policy
from indexer.evm.sealing import PINNED
from indexer.evm.source import EvmSource
from indexer.follow import check_genesis, stop_chain
from indexer.renumber import MIXED, POSITIONS, sample_positions
from indexer.source import Child
from indexer.streams import Wanted, plan_streams
from ops.declaring import declare_commands, declare_tables
from ops.errors import OperationError
from ops.settings import (
    ChainSettings,
    Factory,
    Finality,
    Logs,
    Settings,
    SignerKind,
    load_settings,
)

log = logging.getLogger(__name__)
REFETCH = "chainfold migrate --refetch"


def declared(settings: Settings) -> Registry:
    """Everything declared: the domains that are chosen, and what the settings say."""
    registry = Registry.load(settings.domains, settings.declarations)
    _check_names(settings, registry)
    events: list[type[Event]] = []
    for contract in settings.contracts.values():
        found = declare_events(contract.name, contract.abi, tagged=contract.tagged)
        longest = max((len(event.spec.table) for event in found), default=0)
        if longest > NAME_LENGTH_MAX:
            raise OperationError(
                f"[contracts.{contract.name}]: the name is too long for the tables of "
                "its events, which begin with it: give it one that is "
                f"{longest - NAME_LENGTH_MAX} characters shorter"
            )
        events += found
    registry = registry.with_events(events)
    contracts = registry.contracts
    for name, contract in settings.contracts.items():
        makers = [_announcement(name, each, registry) for each in contract.factories]
        if name in contracts:
            contracts[name].make_by(makers)
    return registry.with_events(
        projections=declare_tables(settings, registry),
        commands=declare_commands(settings, registry),
    )


def _check_names(settings: Settings, registry: Registry) -> None:
    """Raise when the name of a contract in the settings stands for another thing too.

    Its events would be read in the place of declared ones, or share their tables.
    """
    domains = {event.spec.domain for event in registry.events.values()}
    taken: dict[str, str] = {}
    for name in settings.contracts:
        domain = domain_of(name)
        other = taken.setdefault(domain, name)
        if name in registry.contracts:
            what = f"there is a declared contract {name}"
        elif domain in domains:
            what = f"there is a domain {domain}, whose tables begin like its own"
        elif other != name:
            what = f"its tables would be those of [contracts.{other}]"
        else:
            continue
        raise OperationError(f"[contracts.{name}]: {what}: give it another name")


def wanted(settings: Settings, chain: ChainSettings, registry: Registry) -> Wanted:
    """Return what to read from a chain; raises when a contract is unknown."""
    addresses: dict[str, dict[bytes, int]] = {}
    known = registry.contracts
    for name, deployments in chain.contracts.items():
        if name not in known:
            there = ", ".join(sorted(known))
            raise OperationError(
                f"[chains.{chain.name}.contracts] {name}: no such contract is declared."
                f" There is {there}. To follow it by its ABI alone write "
                f"[contracts.{name}] with abi and address."
            )
        addresses[name] = {
            each.address: chain.start_block if each.start is None else each.start
            for each in deployments
        }
    absent = set()
    for contract in settings.contracts.values():
        if chain.name in contract.chains:
            start = max(contract.starts.get(chain.name, 0), chain.start_block)
            found = contract.addresses.get(chain.name, ())
            addresses[contract.name] = dict.fromkeys(found, start)
        else:
            absent.add(contract.name)
    watched = frozenset(chain.watch_senders) | _signer_addresses(settings)
    return Wanted(chain.start_block, addresses, watched, frozenset(absent))


def _signer_addresses(settings: Settings) -> frozenset[bytes]:
    """Our own signers: their transactions are what commands are proved by."""
    found = set()
    for signer in settings.signers.values():
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
    """The streams of every EVM chain, by its name."""
    return {
        name: (chain, plan_streams(registry, wanted(settings, chain, registry)))
        for name, chain in settings.chains.items()
    }


@dataclass(frozen=True, slots=True)
class PostgresLimits:
    """Learnt limits kept in the database; a `LimitsStore`."""

    engine: Engine

    async def load(self, endpoint: str) -> Limits:
        """Return what was learnt before."""
        return Limits(**await asyncio.to_thread(load_limits, self.engine, endpoint))

    async def save(self, endpoint: str, limits: Limits) -> None:
        """Keep what was learnt."""
        await asyncio.to_thread(save_limits, self.engine, endpoint, asdict(limits))


def evm_client(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine | None,
    attempts: int = ATTEMPTS,
) -> RpcClient:
    """A client of a chain's endpoints; with an engine their limits are remembered."""
    return RpcClient(
        [str(url) for url in chain.rpc],
        evm_chain_number(chain),
        limits_store=None if engine is None else PostgresLimits(engine),
        request_timeout_seconds=settings.limits.request_timeout_seconds,
        max_inflight=settings.limits.max_inflight_requests,
        attempts=attempts,
    )


def evm_chain_number(chain: ChainSettings) -> int:
    """The number of an `eip155:` chain."""
    namespace, _, number = chain.id.partition(":")
    if namespace != "eip155":
        raise OperationError(
            f"[chains.{chain.name}] id = {chain.id!r}: only EVM chains (eip155:…) can "
            "be followed by this version. Remove the chain from the settings."
        )
    return int(number)


def ordinals(chain: ChainSettings) -> str:
    """Return how a chain's facts are numbered inside a block."""
    return "rank" if chain.logs is Logs.ALL else "log_index"


@asynccontextmanager
async def open_chain(
    settings: Settings, name: str, engine: Engine, registry: Registry
) -> AsyncIterator[Chain]:
    """Open a chain on a migrated database: registered, its block 0 the one we know."""
    chain = settings.chains[name]
    plan = wanted(settings, chain, registry)
    number = evm_chain_number(chain)
    with engine.begin() as connection:
        row = sources.register(
            connection, name=name, chain_id=chain.id, ordinals=ordinals(chain)
        )
        known = [Child(*each) for each in sources.children(connection, row.id)]
        proved = validators.load(connection, row.id)
    followed = [
        FollowedContract(
            contract, plan.addresses.get(contract.name, {}), registry.events_of(name_)
        )
        for name_, contract in registry.contracts.items()
        if name_ not in plan.absent
    ]
    source = EvmSource(
        name,
        f"eip155:{number}",
        evm_client(settings, chain, engine),
        followed,
        _finality(chain),
        mode="all" if chain.logs is Logs.ALL else "filtered",
        policy=Policy(chain.verify_bloom, chain.verify_receipts, chain.require),
        traits=row.traits,
        validators=_validators(chain, proved),
        watch_senders=plan.watch_senders,
        known_children=known,
    )
    opened = Chain(
        engine, registry, source, row.id, plan_streams(registry, plan),
        range_blocks=settings.limits.range_blocks,
        batch_facts=settings.limits.batch_facts,
    )  # fmt: skip
    try:
        try:
            await check_genesis(opened, chain.genesis)
        except Permanent as error:
            await stop_chain(opened, error)
            raise
        if chain.logs is Logs.FILTERED and POSITIONS not in row.traits:
            await _look_at_positions(opened)
        yield opened
    finally:
        opened.drop_ahead()
        await source.close()


async def _look_at_positions(chain: Chain) -> None:
    """See once whether facts were numbered before the chain kept one way of counting.

    When no node tells it is left to the next start.
    """
    try:
        if await sample_positions(chain) == MIXED:
            log.warning("positions_mixed chain=%s remedy=%s", chain.name, REFETCH)
    except IndexerError as error:
        log.warning("positions_unknown chain=%s cause=%s", chain.name, error)


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


def _validators(
    chain: ChainSettings, proved: ValidatorSet | None
) -> ValidatorState | None:
    """The validators to go on from: the pinned set, or the proved one if it is later.

    Where block 0 is read and nothing is pinned, the source finds its anchor there.
    """
    pinned = chain.validators_block
    if pinned is not None and (proved is None or proved.height < pinned):
        due = tuple(Validator(key.address, key.bls_key) for key in chain.validators)
        return ValidatorState(pinned, PINNED, due)
    if proved is None:
        return None
    return ValidatorState.from_json(proved.height, proved.hash, proved.state)


def _finality(chain: ChainSettings) -> EvmFinality:
    if chain.finality is Finality.IBFT:
        return Ibft()
    if chain.finality is Finality.TAG:
        return Tag()
    if chain.finality is Finality.DEPTH and chain.finality_depth is not None:
        return Depth(chain.finality_depth)
    raise OperationError(
        f'[chains.{chain.name}] finality = "{chain.finality.value}" is not for EVM '
        'chains: write "ibft", "tag" or "depth"'
    )


def _announcement(name: str, factory: Factory, registry: Registry) -> FieldRef:
    """The event field that announces children of a contract in the settings."""
    for event in registry.events_of(factory.contract):
        abi = event.spec.abi
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
