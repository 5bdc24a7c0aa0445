"""Is everything in place? Each check names what is wrong and what to do about it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import packages_distributions

from sqlalchemy import Engine, text

from abis import load_abi
from commands.errors import CommandError
from commands.storage import try_out
from db.registry import Registry
from db.schema import check_declarations
from indexer.errors import IndexerError
from indexer.evm.answers import Call
from indexer.evm.messages import RpcHeader, quantity
from indexer.evm.source import LATEST
from ops.documents import open_storage
from ops.errors import OperationError
from ops.indexing import evm_chain_number, evm_client, wanted
from ops.settings import ChainSettings, Settings, SignerKind, SignerSettings
from ops.signing import open_key, rules_of

PACKAGES = ("abis", "api", "commands", "db", "idl", "indexer", "ops")
OLDEST_POSTGRES = 140000
ATTEMPTS = 3  # at each endpoint: somebody waits for the answer


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether all is well, and what was seen or is to be done."""

    check: str
    well: bool
    detail: str


def examine(
    settings: Settings, engine: Engine, registry: Registry
) -> Iterator[Finding]:
    """Run every check, one after the other."""
    yield _checked("packages", _packages)
    yield _checked("postgres", lambda: _postgres(settings, engine))
    yield _checked("declarations", lambda: _declarations(engine, registry))
    for said in settings.signers.values():
        signer = partial(_signer, settings, said, registry)
        yield _checked(f"signer {said.name}", signer)
    yield _checked("documents", lambda: _documents(settings))
    if not settings.chains:
        yield Finding("chains", False, "none: write [chains.<name>] in chainfold.toml")
    for chain in settings.chains.values():
        name = f"chain {chain.name}"
        contracts = partial(_contracts, settings, chain, registry)
        yield _checked(f"{name} contracts", contracts)
        yield from _endpoints(settings, chain, engine)
        yield _checked(
            f"{name} code", partial(_code, settings, chain, engine, registry)
        )


def _checked(name: str, check: Callable[[], str]) -> Finding:
    """A check that returns what it saw, or raises what is wrong."""
    try:
        return Finding(name, True, check())
    except (OperationError, IndexerError, CommandError) as error:
        return Finding(name, False, str(error))
    except Exception as error:  # a doctor reports whatever it meets
        return Finding(name, False, f"{type(error).__name__}: {error}".split("\n")[0])


def _packages() -> str:
    owners = packages_distributions()
    strangers = {
        package: [name for name in owners.get(package, []) if name != "chainfold"]
        for package in PACKAGES
    }
    taken = {package: names for package, names in strangers.items() if names}
    if taken:
        listed = "; ".join(f"{p} by {', '.join(n)}" for p, n in taken.items())
        raise OperationError(
            f"other distributions own our package names: {listed}. Uninstall them: pip "
            "overwrites files of the same name without a word."
        )
    return f"{', '.join(PACKAGES)} are ours"


def _postgres(settings: Settings, engine: Engine) -> str:
    """Its version, and where to reach it with a client of one's own."""
    with engine.connect() as connection:
        number, version, writable = connection.execute(
            text(
                "SELECT current_setting('server_version_num')::int,"
                " current_setting('server_version'), NOT pg_is_in_recovery()"
            )
        ).one()
    if number < OLDEST_POSTGRES:
        raise OperationError(f"Postgres {version} is too old: use 14 or later")
    if not writable:
        raise OperationError("the database is a replica: give the primary's URL")
    where = engine.url.set(drivername="postgresql")
    found = f"Postgres {version} at {where.render_as_string()}"
    if settings.database.url is None:
        secret = settings.data_dir / "postgres" / "password"
        found += f", while a command runs; its password is in {secret}"
    return found


def _declarations(engine: Engine, registry: Registry) -> str:
    with engine.begin() as connection:
        check_declarations(connection, registry)
    return f"{len(registry.events)} events, {len(registry.projections)} projections"


def _signer(settings: Settings, said: SignerSettings, registry: Registry) -> str:
    """Its rules are of contracts that are followed, and its key can be opened."""
    rules_of(settings, said, registry)
    if said.kind is SignerKind.REMOTE:
        return "its key is in another process"
    if said.secret is None and said.address is not None:
        return f"its key is not here: {said.env or said.password_env} is not set"
    return f"its key is of 0x{open_key(said).address.hex()}"


def _documents(settings: Settings) -> str:
    storage = open_storage(settings)
    try_out(storage)
    return f"files are kept in {storage}"


def _contracts(settings: Settings, chain: ChainSettings, registry: Registry) -> str:
    addresses = wanted(settings, chain, registry).addresses
    if not any(addresses.values()):
        raise OperationError(
            f"no contract has an address: write [chains.{chain.name}.contracts], or "
            "[contracts.<name>] with abi and address"
        )
    for name in addresses:
        if name not in settings.contracts:
            load_abi(name)
    return ", ".join(sorted(name for name, found in addresses.items() if found))


def _endpoints(
    settings: Settings, chain: ChainSettings, engine: Engine
) -> Iterator[Finding]:
    for number, url in enumerate(chain.rpc, 1):
        alone = replace(chain, rpc=(url,))
        ask = partial(_ask_head, settings, alone, engine)
        yield _checked(f"chain {chain.name} endpoint {number}", ask)


def _ask_head(settings: Settings, chain: ChainSettings, engine: Engine) -> str:
    head = asyncio.run(_head(settings, chain, engine))
    return f"answers for chain {evm_chain_number(chain)}, head {quantity(head.number)}"


def _code(
    settings: Settings, chain: ChainSettings, engine: Engine, registry: Registry
) -> str:
    """Every configured address has code: a wrong one is followed in vain."""
    addresses = wanted(settings, chain, registry).addresses
    empty = asyncio.run(_without_code(settings, chain, engine, addresses))
    if empty:
        raise OperationError(
            f"no code at {', '.join(empty)}: nothing will ever be read from there. "
            "Correct the address, or the endpoint's chain."
        )
    return f"code at {sum(map(len, addresses.values()))} addresses"


async def _head(settings: Settings, chain: ChainSettings, engine: Engine) -> RpcHeader:
    client = evm_client(settings, chain, engine, ATTEMPTS * len(chain.rpc))
    try:
        head: RpcHeader = await client.call(LATEST)
    finally:
        await client.close()
    return head


async def _without_code(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    addresses: Mapping[str, Mapping[bytes, int]],
) -> list[str]:
    named = [
        (name, "0x" + address.hex()) for name, at in addresses.items() for address in at
    ]
    client = evm_client(settings, chain, engine, ATTEMPTS * len(chain.rpc))
    try:
        calls = [Call("eth_getCode", (address, "latest"), str) for _, address in named]
        reply = await client.batch(calls)
    finally:
        await client.close()
    return [
        f"{name} {address}"
        for (name, address), code in zip(named, reply.results, strict=True)
        if code in ("0x", "0x0")
    ]
