"""From settings to signers: keys behind the rules that the settings give them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from eth_utils.crypto import keccak
from sqlalchemy import Engine

from abis import UnknownContract, load_abi
from commands.evm.signers import (
    LocalSigner,
    Signer,
    signer_from_key,
    signer_from_keystore,
)
from commands.evm.signing.guard import FILLER, Allowance, GuardedSigner, Rules, guarded
from commands.evm.signing.remote import RemoteSigner
from commands.signing.server import keys_by_address
from db.commands.evm.memory import SpendingLimits
from db.declare.evm.call import EvmCallSpec
from db.declare.evm.signatures import canonical_type
from db.registry import Registry
from ops.chains.evm.client import evm_chain_number
from ops.errors import OperationError
from ops.settings import (
    SOLANA,
    ChainSettings,
    Settings,
    SignerKind,
    SignerSettings,
)


def open_signer(
    settings: Settings,
    name: str,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> Signer:
    """A signer of the settings: behind a guard of ours, or in another process."""
    config = settings.signers[name]
    if config.kind is SignerKind.REMOTE:
        if config.url is None or config.address is None:
            raise OperationError(
                f"signer {name} is remote: give its url and its address"
            )
        return RemoteSigner(name, config.address, str(config.url))
    return guarded(
        engine,
        open_key(config),
        rules_of(settings, config, registry),
        clock,
    )


def open_keys(
    settings: Settings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> dict[bytes, GuardedSigner]:
    """Every key for EVM chains that is held here, behind its rules, by address."""
    here = []
    for config in settings.signers.values():
        chain = settings.chains.get(config.chain)
        is_evm = chain is None or chain.namespace != SOLANA
        if is_evm and config.kind is not SignerKind.REMOTE:
            rules = rules_of(settings, config, registry)
            here.append(guarded(engine, open_key(config), rules, clock))
    return keys_by_address(here)


def open_key(config: SignerSettings) -> LocalSigner:
    """A key held in this process; raises OperationError or SigningRefused without."""
    variable = config.env or config.password_env
    if config.secret is None or variable is None:
        raise OperationError(
            f"signer {config.name} has no key without the environment variable "
            f"{variable or 'that its env or password_env names'}: set it, and start "
            "again"
        )
    if config.kind is SignerKind.KEYSTORE and config.path is not None:
        found = signer_from_keystore(config.name, config.path, config.secret.value)
    else:
        found = signer_from_key(config.name, config.secret.value)
    if config.address is not None and config.address != found.address:
        raise OperationError(
            f"the key of signer {config.name} is of 0x{found.address.hex()}, not of "
            f"0x{config.address.hex()}: correct its address, or give it the right key"
        )
    return found


def chain_of(settings: Settings, config: SignerSettings) -> ChainSettings:
    """Return the chain that a signer signs for; raises OperationError without one."""
    if config.chain not in settings.chains:
        raise OperationError(
            f"signer {config.name} has no chain to sign for: write [chains.<name>]"
        )
    return settings.chains[config.chain]


def rules_of(settings: Settings, config: SignerSettings, registry: Registry) -> Rules:
    """Return the rules of a signer from its settings."""
    chain = chain_of(settings, config)
    wanted = config.allow
    if wanted is None:
        wanted = tuple(
            f"{spec.call.contract}.{spec.call.function['name']}"
            for spec in (each.spec for each in registry.commands.values())
            if spec.signer == config.name and isinstance(spec.call, EvmCallSpec)
        )
    return Rules(
        name=config.name,
        chain_id=evm_chain_number(chain),
        allow=tuple(_allowances(settings, config, (w for w in wanted if w != FILLER))),
        fillers=config.allow is None or FILLER in config.allow,
        value_per_transaction=config.value_per_transaction,
        gas_price_max=config.gas_price_max,
        limits=SpendingLimits(config.value_per_day, config.gas_per_day),
    )


def _allowances(
    settings: Settings, config: SignerSettings, wanted: Iterable[str]
) -> Iterable[Allowance]:
    """`Contract.function` or `Contract.*` as selectors at addresses.

    A clone's address is not known beforehand, so the settings cannot name it: a
    contract's name also stands for whatever its factory was seen to announce.
    """
    for item in wanted:
        contract, _, function = item.partition(".")
        abi, places = _contract(settings, config, contract)
        selectors = frozenset(
            _selector(each)
            for each in abi
            if each.get("type") == "function"
            and each.get("stateMutability") not in ("view", "pure")
            and function in ("*", each["name"])
        )
        if not selectors:
            raise OperationError(
                f"[signers.{config.name}] allow: {item} is no function that changes "
                "anything: write Contract.function as its ABI has it, or Contract.*"
            )
        yield Allowance(contract, places, selectors)


# Any: an ABI is JSON whose shape the Solidity compiler defines.
def _contract(
    settings: Settings, config: SignerSettings, name: str
) -> tuple[Sequence[Mapping[str, Any]], frozenset[bytes]]:
    """Return the ABI and addresses of a contract; none for an unknown name."""
    chain = chain_of(settings, config)
    if name in settings.contracts:
        own = settings.contracts[name]
        return own.abi, frozenset(own.addresses.get(chain.name, ()))
    deployed = chain.contracts.get(name, ())
    try:
        abi = load_abi(name)
    except UnknownContract:
        return [], frozenset()
    return abi, frozenset(each.address for each in deployed)


def _selector(function: Mapping[str, Any]) -> bytes:
    inputs = function["inputs"]
    types = ",".join(canonical_type(part) for part in inputs)
    return keccak(text=f"{function['name']}({types})")[:4]
