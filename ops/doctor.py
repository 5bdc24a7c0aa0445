"""Is everything in place? Each check names what is wrong and what to do about it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import packages_distributions

from sqlalchemy import Engine, text

from commands.errors import CommandError
from commands.storage import try_out
from db import blocks, sources
from db.diagnosis import Ailment, diagnose
from db.engine import Refused, Unavailable
from db.fit import examine as fit_of
from db.registry import Registry
from db.status import chain_status, describe_proof, mixed_positions
from indexer.errors import IndexerError
from ops.chains import kind_of
from ops.documents import open_storage
from ops.embedded.postgres import has_data
from ops.embedded.supervisor import EmbeddedError
from ops.errors import OperationError
from ops.indexing import streams, wanted
from ops.notifying import notification_checks
from ops.payments import payment_checks
from ops.services import read_only_engine
from ops.settings import (
    FILE,
    SOLANA,
    ChainSettings,
    Settings,
    SignerSettings,
)
from ops.signing import chain_of

PACKAGES = ("abis", "api", "commands", "db", "idl", "indexer", "ops")
OLDEST_POSTGRES = 140000
LAG_BLOCKS = 3  # heads that differ by so little are of the same moment


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether it passed, and the finding or the remedy."""

    check: str
    well: bool
    detail: str


Opening = Callable[[Settings], AbstractContextManager[Engine]]


def examine(
    settings: Settings, registry: Registry, opening: Opening | None = None
) -> Iterator[Finding]:
    """Run every check in turn; without a database the others still run.

    `opening` opens the database to read from (default: that of the settings).
    """
    yield _checked("packages", _packages)
    yield _settings(settings)
    if settings.path is None and not settings.chains:
        return  # whatever is looked at would be made in a folder that is not meant
    with ExitStack() as stack:
        engine: Engine | None = None
        if (
            opening is None
            and settings.database.embedded
            and not has_data(settings.data_dir)
        ):
            yield Finding("postgres", True, f"none in {settings.data_dir} yet")
        else:
            try:
                engine = stack.enter_context((opening or read_only_engine)(settings))
            except (OperationError, EmbeddedError) as error:
                yield Finding("postgres", False, str(error))
        if engine is not None:
            found = _checked("postgres", partial(_postgres, settings, engine))
            yield found
            engine = engine if found.well else None
        if engine is not None:
            yield _checked("declarations", partial(_declarations, engine, registry))
        yield from _signers_and_documents(settings, registry)
        for check, asked in (
            *payment_checks(settings), *notification_checks(settings),
        ):  # fmt: skip
            yield _checked(check, asked)
        if not settings.chains:
            yield Finding(
                "chains", False, "none: write [chains.<name>] in chainfold.toml"
            )
        for chain in settings.chains.values():
            yield from _chain(settings, chain, engine, registry)


def _settings(settings: Settings) -> Finding:
    if settings.path is not None:
        return Finding("settings", True, f"read from {settings.path}")
    if settings.chains:
        return Finding("settings", True, "read from the environment")
    return Finding("settings", False, f"no {FILE} here: write one, or say --config")


def _signers_and_documents(settings: Settings, registry: Registry) -> Iterator[Finding]:
    for config in settings.signers.values():
        signer = partial(_signer, settings, config, registry)
        yield _checked(f"signer {config.name}", signer)
    yield _checked("documents", partial(_documents, settings))


def _chain(
    settings: Settings, chain: ChainSettings, engine: Engine | None, registry: Registry
) -> Iterator[Finding]:
    """Its contracts, its endpoints, and how it is being read."""
    name = f"chain {chain.name}"
    contracts = partial(_contracts, settings, chain, registry)
    yield _checked(f"{name} contracts", contracts)
    heads = [_ask_head(settings, chain, at) for at in range(len(chain.rpc))]
    reached = None if engine is None else _reached(chain, engine, registry)
    yield from judge_heads(name, chain, heads, reached)
    if engine is not None:
        yield from _followed(settings, chain, engine, registry)
    kind = kind_of(chain)
    for number, head in enumerate(heads, 1):
        if isinstance(head, int):
            alone = _alone(chain, number - 1)
            for check, asked in kind.endpoint_checks(settings, alone, head):
                yield _checked(f"{name} endpoint {number} {check}", asked)
    best = _best(heads)
    if best is not None:
        addresses = wanted(settings, chain, registry).addresses
        found = kind.address_checks(
            settings, _alone(chain, best), addresses, engine, registry
        )
        for check, asked in found:
            yield _checked(f"{name} {check}", asked)


def _checked(name: str, check: Callable[[], str]) -> Finding:
    """Run a check that returns its finding or raises an error."""
    try:
        return Finding(name, True, check())
    except (OperationError, IndexerError, CommandError) as error:
        return Finding(name, False, str(error))
    except Exception as error:  # a doctor reports whatever it meets
        return Finding(name, False, f"{type(error).__name__}: {error}".split("\n")[0])


def _packages() -> str:
    owners = packages_distributions()
    foreign = {
        package: [name for name in owners.get(package, []) if name != "chainfold"]
        for package in PACKAGES
    }
    taken = {package: names for package, names in foreign.items() if names}
    if taken:
        listed = "; ".join(f"{p} by {', '.join(n)}" for p, n in taken.items())
        raise OperationError(
            f"other distributions own our package names: {listed}. Uninstall them: pip "
            "overwrites files of the same name without a word."
        )
    return f"{', '.join(PACKAGES)} are ours"


def _postgres(settings: Settings, engine: Engine) -> str:
    """Its version, and where to reach it with a client of one's own."""
    try:
        with engine.connect() as connection:
            number, version, replica = connection.execute(
                text(
                    "SELECT current_setting('server_version_num')::int,"
                    " current_setting('server_version'), pg_is_in_recovery()"
                )
            ).one()
    except Unavailable as error:
        gist = str(error).split("\n", 1)[0]
        raise OperationError(
            f"it cannot be reached: {gist}. Check [database] url, and that it runs"
        ) from None
    if number < OLDEST_POSTGRES:
        raise OperationError(f"Postgres {version} is too old: use 14 or later")
    if replica and settings.database.read_url is None:
        raise OperationError(
            "[database] url is a replica, which can only be read: give it as read_url, "
            "and the primary's as url"
        )
    where = engine.url.set(drivername="postgresql")
    found = f"Postgres {version} at {where.render_as_string()}"
    if settings.database.url is None:
        secret = settings.data_dir / "postgres" / "password"
        found += f", while a command runs; its password is in {secret}"
    return found


def _declarations(engine: Engine, registry: Registry) -> str:
    with engine.connect() as connection:
        fit = fit_of(connection, registry)
    if fit.empty:
        return "nothing of ours in the database yet; `chainfold run` makes the tables"
    if fit.message:
        raise OperationError(fit.message)
    return f"{len(registry.events)} events, {len(registry.projections)} projections"


def _signer(settings: Settings, config: SignerSettings, registry: Registry) -> str:
    """Check a signer's rules, and that its key can be opened."""
    kind = kind_of(chain_of(settings, config))
    return kind.check_signer(settings, config, registry)


def _documents(settings: Settings) -> str:
    storage = open_storage(settings)
    try_out(storage)
    return f"files are kept in {storage}"


def _contracts(settings: Settings, chain: ChainSettings, registry: Registry) -> str:
    plan = wanted(settings, chain, registry)
    addresses = {**plan.addresses, "wallets": plan.wallets}
    if not any(addresses.values()):
        if chain.namespace == SOLANA:
            raise OperationError(
                f"no program has an address: write [chains.{chain.name}.programs] or "
                "tokens, wallets or payers, or [programs.<name>] with idl and address"
            )
        raise OperationError(
            f"no contract has an address: write [chains.{chain.name}.contracts], or "
            "[contracts.<name>] with abi and address"
        )
    return ", ".join(sorted(name for name, found in addresses.items() if found))


Head = int | str  # a height, or why there is none


def judge_heads(
    name: str, chain: ChainSettings, heads: Sequence[Head], reached: int | None
) -> Iterator[Finding]:
    """One finding for each endpoint: its head beside the others' and the index's.

    `reached` is the highest block that was written, which a healthy endpoint has.
    """
    best = _best(heads)
    for number, head in enumerate(heads, 1):
        check = f"{name} endpoint {number}"
        if isinstance(head, str) or best is None:
            yield Finding(check, False, str(head))
            continue
        seen = f"answers for chain {chain.id.partition(':')[2]}, head {head}"
        ahead = int(heads[best]) - head
        if ahead > LAG_BLOCKS:
            yield Finding(
                check, False,
                f"{seen}: {ahead} blocks behind endpoint {best + 1}. It syncs, or is "
                "cut off from its peers: look at that node",
            )  # fmt: skip
        elif reached is not None and head < reached - LAG_BLOCKS:
            yield Finding(
                check, False,
                f"{seen}: block {reached} was written already. The node has fallen "
                "behind, or the chain was started anew: see `chainfold status`",
            )  # fmt: skip
        else:
            yield Finding(check, True, seen)


def _best(heads: Sequence[Head]) -> int | None:
    """Return the endpoint with the highest head; None when none answers."""
    there = [at for at, head in enumerate(heads) if not isinstance(head, str)]
    return max(there, key=lambda at: heads[at], default=None)


def _followed(
    settings: Settings, chain: ChainSettings, engine: Engine, registry: Registry
) -> Iterator[Finding]:
    """Yield how a chain is read, if a process follows it or was stopped."""
    try:
        with engine.connect() as connection:
            if fit_of(connection, registry).unusable:
                return
            row = sources.find(connection, chain.name)
            if row is None:
                return
            plan = streams(settings, registry)[chain.name][1]
            status = chain_status(connection, row.id, plan)
            found = diagnose(status)
    except Refused:
        return  # the finding about the database says it
    if found.ailment is not Ailment.NOT_FOLLOWED:
        config = f"{found.ailment}: {found.cause}. {found.remedy}".strip(". ")
        detail = "it is read, and nothing is in the way"
        if found.ailment is not Ailment.NONE:
            detail = config
        yield Finding(f"chain {chain.name} state", found.well, detail)
    if mixed := mixed_positions(status):
        yield Finding(f"chain {chain.name} positions", False, mixed)
    if status.proof is not None:
        yield Finding(f"chain {chain.name} proofs", True, describe_proof(status))


def _reached(chain: ChainSettings, engine: Engine, registry: Registry) -> int | None:
    """The highest block that was written; None when that is not known."""
    try:
        with engine.connect() as connection:
            if fit_of(connection, registry).unusable:
                return None
            row = sources.find(connection, chain.name)
            tip = None if row is None else blocks.tip(connection, row.id)
    except Refused:
        return None
    return None if tip is None else tip.height


def _alone(chain: ChainSettings, at: int) -> ChainSettings:
    """The chain with one of its endpoints alone."""
    return replace(chain, rpc=(chain.rpc[at],))


def _ask_head(settings: Settings, chain: ChainSettings, at: int) -> Head:
    try:
        return kind_of(chain).head_of(settings, _alone(chain, at))
    except (IndexerError, OperationError) as error:
        return str(error)
