"""Solana clusters: lanes and signers at work, as the settings describe them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Engine

from commands.errors import SigningHeld, SigningRefused
from commands.lane import Lane
from commands.signing.server import keys_by_address
from commands.solana.context import Policy, SignerContext
from commands.solana.extras import Extras
from commands.solana.guard import Allowance, GuardedSigner, Rules, guarded
from commands.solana.instructions import Addresses
from commands.solana.lane import SolanaLane
from commands.solana.nodes import SolanaNodes
from commands.solana.remote import RemoteSigner
from commands.solana.signers import (
    LocalSigner,
    Signer,
    signer_from_file,
    signer_from_key,
)
from commands.solana.work import work_once
from db import sources
from db.commands.solana.attempts import register_signer
from db.commands.solana.memory import LAMPORTS
from db.coverage import Stream
from db.declare import Program
from db.declare.solana.call import SolanaCallSpec
from db.registry import Registry
from idl.base58 import to_base58
from idl.model import Idl
from ops.chains.indexed import last_indexed
from ops.chains.solana.source import ordinals
from ops.errors import OperationError
from ops.settings import SOLANA, ChainSettings, Settings, SignerKind, SignerSettings


def open_lane(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    at_once: Engine,
    registry: Registry,
    plan: Sequence[Stream],
) -> Lane:
    """Return the lane of a cluster, which is registered if it was not."""
    with engine.begin() as connection:
        row = sources.register(
            connection, name=chain.name, chain_id=chain.id, ordinals=ordinals(chain)
        )
    listed = settings.wallets.solana
    return SolanaLane(
        name=chain.name,
        source=row.id,
        node=_nodes(settings, chain, at_once, row.id),
        places=Addresses(
            _programs(settings, chain),
            {name: keys[0] for name, keys in chain.accounts.items()},
            chain.accounts,
        ),
        signers=frozenset(
            each.name for each in settings.signers.values() if each.chain == chain.name
        ),
        plan=plan,
        extras=Extras(
            guards=frozenset(listed.guards),
            guards_most=listed.guards_most,
            fees=listed.fees,
            price_max=listed.priority_fee_max,
        ),
        followed=_followed(settings, chain, registry),
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
    return lambda: work_once(context)


def open_signer_context(
    settings: Settings,
    config: SignerSettings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> SignerContext:
    """A signer registered and ready to work."""
    signer = _open_signer(settings, config, chain, engine, registry, clock)
    with engine.begin() as connection:
        row = sources.register(
            connection, name=chain.name, chain_id=chain.id, ordinals=ordinals(chain)
        )
        register_signer(
            connection, name=config.name, source_id=row.id, address=signer.address,
            max_in_flight=config.max_in_flight,
        )  # fmt: skip
    return SignerContext(
        engine=engine,
        signer=signer,
        node=_nodes(settings, chain, engine, row.id),
        policy=Policy(
            price_max=config.priority_fee_max, max_in_flight=config.max_in_flight
        ),
        clock=clock,
        calls=_calls(registry),
        several=chain.accounts,
    )


def _open_signer(
    settings: Settings,
    config: SignerSettings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> Signer:
    """A key behind a guard of ours, or in another process."""
    if config.kind is not SignerKind.REMOTE:
        rules = _rules(settings, config, chain, registry)
        return guarded(engine, open_key(config), rules, clock)
    if config.url is None or config.address is None:
        raise OperationError(
            f"signer {config.name} is remote: give its url and its address"
        )
    return RemoteSigner(config.name, config.address, str(config.url))


def open_keys(
    settings: Settings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> dict[bytes, GuardedSigner]:
    """Every key for Solana that is held here, behind its rules, by address."""
    here = []
    for config in settings.signers.values():
        chain = settings.chains.get(config.chain)
        is_here = config.kind is not SignerKind.REMOTE
        if is_here and chain is not None and chain.namespace == SOLANA:
            rules = _rules(settings, config, chain, registry)
            here.append(guarded(engine, open_key(config), rules, clock))
    return keys_by_address(here)


def open_key(config: SignerSettings) -> LocalSigner:
    """A key held in this process; raises OperationError or SigningRefused without."""
    if config.kind is SignerKind.KEYSTORE and config.path is not None:
        if config.password_env and config.secret is None:
            raise OperationError(
                f"signer {config.name} has no key without the environment variable "
                f"{config.password_env}: set it, and start again"
            )
        password = None if config.secret is None else config.secret.value
        found = signer_from_file(config.name, config.path, password)
    elif config.secret is not None:
        found = signer_from_key(config.name, config.secret.value)
    else:
        raise OperationError(
            f"signer {config.name} has no key without the environment variable "
            f"{config.env or 'that its env names'}: set it, and start again"
        )
    if config.address is not None and config.address != found.address:
        raise OperationError(
            f"the key of signer {config.name} is of {to_base58(found.address)}, not of "
            f"{to_base58(config.address)}: correct its address, or give its own key"
        )
    return found


def check_signer(settings: Settings, config: SignerSettings, registry: Registry) -> str:
    """Return whose key a signer has; see `ops.chains.ChainKind`."""
    _rules(settings, config, settings.chains[config.chain], registry)
    if config.kind is SignerKind.REMOTE and config.address is not None:
        remote = RemoteSigner(config.name, config.address, str(config.url))
        try:
            remote.recall(b"", frozenset())
        except (SigningHeld, SigningRefused) as error:
            raise OperationError(str(error)) from None
        return f"its key, of {to_base58(config.address)}, is in another process"
    return f"its key is of {to_base58(open_key(config).address)}"


def _rules(
    settings: Settings, config: SignerSettings, chain: ChainSettings, registry: Registry
) -> Rules:
    """Return the rules of a signer: what it may call, and spend in a day."""
    wanted = config.allow
    if wanted is None:
        wanted = tuple(
            f"{spec.call.contract}.{spec.call.layout.name}"
            for spec in (each.spec for each in registry.commands.values())
            if spec.signer == config.name and isinstance(spec.call, SolanaCallSpec)
        )
    limits = dict(config.tokens_per_day)
    if config.lamports_per_day is not None:
        limits[LAMPORTS] = config.lamports_per_day
    return Rules(
        name=config.name,
        chain=chain.id,
        allow=tuple(_allowances(settings, config, chain, registry, wanted)),
        limits=limits,
        price_max=config.priority_fee_max,
        named={key: name for name, keys in chain.accounts.items() for key in keys},
    )


def _allowances(
    settings: Settings,
    config: SignerSettings,
    chain: ChainSettings,
    registry: Registry,
    wanted: Iterable[str],
) -> Iterator[Allowance]:
    """`program.instruction`, or `program.*`, as discriminators at an address."""
    places = _programs(settings, chain)
    for item in wanted:
        name, _, instruction = item.partition(".")
        emitter = registry.emitters.get(name)
        starts = frozenset(
            each.discriminator
            for each in (
                emitter.idl.instructions if isinstance(emitter, Program) else ()
            )
            if instruction in ("*", each.name)
        )
        if not starts or name not in places:
            raise OperationError(
                f"[signers.{config.name}] allow: {item} is no instruction of a program "
                "that has an address here: write program.instruction as its IDL has "
                "it, or program.*"
            )
        yield Allowance(places[name], starts)


def _calls(registry: Registry) -> dict[str, SolanaCallSpec]:
    """The calls of commands, by the kind that a command's row has."""
    return {
        each.spec.slug: each.spec.call
        for each in registry.commands.values()
        if isinstance(each.spec.call, SolanaCallSpec)
    }


def _programs(settings: Settings, chain: ChainSettings) -> dict[str, bytes]:
    """The first address of each program on a cluster."""
    found = {name: each[0].address for name, each in chain.programs.items()}
    for name, program in settings.programs.items():
        if there := program.addresses.get(chain.name):
            found[name] = there[0]
    return found


def _followed(
    settings: Settings, chain: ChainSettings, registry: Registry
) -> dict[bytes, Idl]:
    """The IDLs of programs by address, without those that are followed by accounts.

    Of these not every transaction is listed, so that nothing shows what became of one.
    """
    places = {
        name: [each.address for each in deployments]
        for name, deployments in chain.programs.items()
    }
    for name, program in settings.programs.items():
        if not program.accounts.get(chain.name):
            places[name] = [*program.addresses.get(chain.name, ())]
    return {
        address: emitter.idl
        for name, addresses in places.items()
        if isinstance(emitter := registry.emitters.get(name), Program)
        for address in addresses
    }


def _nodes(
    settings: Settings, chain: ChainSettings, engine: Engine, source: int
) -> SolanaNodes:
    """All endpoints of a cluster; none is believed that is behind the index."""
    return SolanaNodes.at(
        [str(url) for url in chain.rpc],
        chain_id=chain.id,
        indexed=last_indexed(engine, source),
        timeout_seconds=settings.limits.request_timeout_seconds,
    )
