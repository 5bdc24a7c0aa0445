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
    said = settings.signers[name]
    if said.kind is SignerKind.REMOTE:
        if said.url is None or said.address is None:
            raise OperationError(
                f"signer {name} is remote: give its url and its address"
            )
        return RemoteSigner(name, said.address, str(said.url))
    return guarded(engine, open_key(said), rules_of(settings, said, registry), clock)


def open_keys(
    settings: Settings,
    engine: Engine,
    registry: Registry,
    clock: Callable[[], datetime],
) -> dict[bytes, GuardedSigner]:
    """Every key for EVM chains that is held here, behind its rules, by address."""
    found: dict[bytes, GuardedSigner] = {}
    for said in settings.signers.values():
        chain = settings.chains.get(said.chain)
        is_evm = chain is None or chain.namespace != SOLANA
        if is_evm and said.kind is not SignerKind.REMOTE:
            rules = rules_of(settings, said, registry)
            signer = guarded(engine, open_key(said), rules, clock)
            if (other := found.get(signer.address)) is not None:
                raise OperationError(
                    f"signers {other.name} and {said.name} have the same key: give "
                    "each a key of its own"
                )
            found[signer.address] = signer
    if not found:
        raise OperationError(
            "no signer has its key here: write [signers.<name>] with kind = "
            '"keystore" or "env"'
        )
    return found


def open_key(said: SignerSettings) -> LocalSigner:
    """A key held in this process; raises OperationError or SigningRefused without."""
    variable = said.env or said.password_env
    if said.secret is None or variable is None:
        raise OperationError(
            f"signer {said.name} has no key without the environment variable "
            f"{variable or 'that its env or password_env names'}: set it, and start "
            "again"
        )
    if said.kind is SignerKind.KEYSTORE and said.path is not None:
        found = signer_from_keystore(said.name, said.path, said.secret.value)
    else:
        found = signer_from_key(said.name, said.secret.value)
    if said.address is not None and said.address != found.address:
        raise OperationError(
            f"the key of signer {said.name} is of 0x{found.address.hex()}, not of "
            f"0x{said.address.hex()}: correct its address, or give it the right key"
        )
    return found


def chain_of(settings: Settings, said: SignerSettings) -> ChainSettings:
    """Return the chain that a signer signs for; raises OperationError without one."""
    if said.chain not in settings.chains:
        raise OperationError(
            f"signer {said.name} has no chain to sign for: write [chains.<name>]"
        )
    return settings.chains[said.chain]


def rules_of(settings: Settings, said: SignerSettings, registry: Registry) -> Rules:
    """Return the rules of a signer from its settings."""
    chain = chain_of(settings, said)
    wanted = said.allow
    if wanted is None:
        wanted = tuple(
            f"{spec.call.contract}.{spec.call.function['name']}"
            for spec in (each.spec for each in registry.commands.values())
            if spec.signer == said.name and isinstance(spec.call, EvmCallSpec)
        )
    return Rules(
        name=said.name,
        chain_id=evm_chain_number(chain),
        allow=tuple(_allowances(settings, said, (w for w in wanted if w != FILLER))),
        fillers=said.allow is None or FILLER in said.allow,
        value_per_transaction=said.value_per_transaction,
        gas_price_max=said.gas_price_max,
        limits=SpendingLimits(said.value_per_day, said.gas_per_day),
    )


def _allowances(
    settings: Settings, said: SignerSettings, wanted: Iterable[str]
) -> Iterable[Allowance]:
    """`Contract.function` or `Contract.*` as selectors at addresses.

    A clone's address is not known beforehand, so the settings cannot name it: a
    contract's name also stands for whatever its factory was seen to announce.
    """
    for item in wanted:
        contract, _, function = item.partition(".")
        abi, places = _contract(settings, said, contract)
        selectors = frozenset(
            _selector(each)
            for each in abi
            if each.get("type") == "function"
            and each.get("stateMutability") not in ("view", "pure")
            and function in ("*", each["name"])
        )
        if not selectors:
            raise OperationError(
                f"[signers.{said.name}] allow: {item} is no function that changes "
                "anything: write Contract.function as its ABI has it, or Contract.*"
            )
        yield Allowance(contract, places, selectors)


# Any: an ABI is JSON whose shape the Solidity compiler defines.
def _contract(
    settings: Settings, said: SignerSettings, name: str
) -> tuple[Sequence[Mapping[str, Any]], frozenset[bytes]]:
    """The ABI and the addresses of a contract; none of a name that nobody declared."""
    chain = chain_of(settings, said)
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
