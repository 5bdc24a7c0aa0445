"""EVM chains: lanes and signers at work, as the settings describe them."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from commands.evm.context import SignerContext, SigningPolicy
from commands.evm.lane import EvmLane
from commands.evm.nodes.pool import Nodes
from commands.evm.starting import begin
from commands.evm.work import work_once
from commands.lane import Lane
from db import sources
from db.coverage import Stream
from db.registry import Registry
from ops.chains.evm.client import evm_chain_number
from ops.chains.evm.source import ordinals
from ops.chains.indexed import last_indexed
from ops.settings import (
    ChainSettings,
    FeeModel,
    Settings,
    SignerKind,
    SignerSettings,
)
from ops.signing import open_key, open_signer, rules_of


def open_lane(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    at_once: Engine,
    registry: Registry,
    plan: Sequence[Stream],
) -> Lane:
    """Return the lane of a chain, which is registered if it was not."""
    with engine.begin() as connection:
        row = sources.register(
            connection, name=chain.name, chain_id=chain.id, ordinals=ordinals(chain)
        )
    return EvmLane(
        name=chain.name,
        source=row.id,
        chain_id=evm_chain_number(chain),
        node=open_nodes(settings, chain, at_once, row.id),
        addresses=_addresses(settings, chain),
        signers=frozenset(
            each.name for each in settings.signers.values() if each.chain == chain.name
        ),
        untagged=registry.untagged,
        plan=plan,
    )


def open_worker(
    settings: Settings,
    config: SignerSettings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> Callable[[], None]:
    """Return one pass over a signer's commands; the signer is registered."""
    context = open_signer_context(settings, config, chain, engine, registry, clock)

    def work() -> None:
        work_once(context)

    return work


def open_signer_context(
    settings: Settings,
    config: SignerSettings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> SignerContext:
    """A signer registered and ready to work, once the index has passed the head.

    What the signing side or the node remember of it, and the database does not, was
    done before a backup was restored: those nonces are filled before new ones are used.
    """
    signer = open_signer(settings, config.name, engine, registry, clock)
    with engine.begin() as connection:
        row = sources.register(
            connection, name=chain.name, chain_id=chain.id, ordinals=ordinals(chain)
        )
    node = open_nodes(settings, chain, engine, row.id)
    begin(engine, signer, node, source=row.id, max_in_flight=config.max_in_flight)
    policy = SigningPolicy(
        chain_id=evm_chain_number(chain),
        gas_price_max=config.gas_price_max,
        bump_most_times=config.bump_most_times,
        dynamic_fees=chain.fees is FeeModel.EIP1559,
    )
    return SignerContext(engine, signer, node, policy, clock)


def check_signer(settings: Settings, config: SignerSettings, registry: Registry) -> str:
    """Return whose key a signer has; see `ops.chains.ChainKind`."""
    rules_of(settings, config, registry)
    if config.kind is SignerKind.REMOTE:
        return "its key is in another process"
    if config.secret is None and config.address is not None:
        return f"its key is not here: {config.env or config.password_env} is not set"
    return f"its key is of 0x{open_key(config).address.hex()}"


def _addresses(settings: Settings, chain: ChainSettings) -> dict[str, bytes]:
    """The first address of each contract on a chain."""
    found = {name: each[0].address for name, each in chain.contracts.items()}
    for name, contract in settings.contracts.items():
        if there := contract.addresses.get(chain.name):
            found[name] = there[0]
    return found


def open_nodes(
    settings: Settings, chain: ChainSettings, engine: Engine, source: int
) -> Nodes:
    """All endpoints of a chain; none is believed that is behind the index."""
    return Nodes.at(
        [str(url) for url in chain.rpc],
        chain_id=evm_chain_number(chain),
        indexed=last_indexed(engine, source),
        timeout_seconds=settings.limits.request_timeout_seconds,
    )
