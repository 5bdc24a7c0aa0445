"""From settings to signers at work: keys, nodes, and the desks they work at."""

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Engine

from commands.errors import NodeAway
from commands.node import EvmNode
from commands.signers import LocalSigner, signer_from_key, signer_from_keystore
from commands.work import Desk, Policy, work_once
from db import sources
from db.commands.slots import register_signer
from db.engine import Unavailable
from ops.errors import OperationError
from ops.indexing import evm_chain_number, ordinals
from ops.settings import ChainSettings, Settings, SignerKind, SignerSettings

WORK_SECONDS = 0.5

log = logging.getLogger(__name__)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def open_signer(settings: SignerSettings) -> LocalSigner:
    """A signer with its key; raises OperationError or SigningRefused without it."""
    variable = settings.env or settings.password_env
    if settings.secret is None or variable is None:
        raise OperationError(
            f"signer {settings.name} has no secret: set the environment variable "
            f"{variable or 'that its env or password_env names'}"
        )
    if settings.kind is SignerKind.KEYSTORE and settings.path is not None:
        return signer_from_keystore(settings.name, settings.path, settings.secret.value)
    if settings.kind is SignerKind.ENV:
        return signer_from_key(settings.name, settings.secret.value)
    raise OperationError(
        f'signer {settings.name}: kind = "{settings.kind.value}" cannot sign in this '
        'version; use "keystore" or "env"'
    )


def signing_chain(settings: Settings) -> ChainSettings:
    """The chain that signers send to; there must be exactly one."""
    if len(settings.chains) != 1:
        raise OperationError(
            "signers send to the one chain of the settings, and there are "
            f"{len(settings.chains)}: use a settings file with one chain"
        )
    return next(iter(settings.chains.values()))


def open_desk(settings: Settings, engine: Engine, name: str) -> Desk:
    """A signer registered and ready to work, once the index has passed the head."""
    if name not in settings.signers:
        raise OperationError(
            f"no signer {name!r} in the settings; there is "
            f"{', '.join(settings.signers) or 'none'}. Write [signers.{name}]."
        )
    chain = signing_chain(settings)
    signer = open_signer(settings.signers[name])
    node = EvmNode.at(str(chain.rpc[0]), settings.limits.request_timeout_seconds)
    with engine.begin() as connection:
        row = sources.register(
            connection, name=chain.name, chain_id=chain.id, ordinals=ordinals(chain)
        )
        register_signer(
            connection, name=name, source_id=row.id, address=signer.address,
            next_nonce=node.nonce(signer.address), gate_height=node.head(),
        )  # fmt: skip
    policy = Policy(chain_id=evm_chain_number(chain))
    return Desk(engine, signer, node, policy, now)


def contract_addresses(settings: Settings) -> Mapping[str, bytes]:
    """The first address of each contract of the signers' chain."""
    chain = signing_chain(settings)
    return {name: found[0].address for name, found in chain.contracts.items()}


def work_until(settings: Settings, engine: Engine, stop: threading.Event) -> None:
    """Work at every desk until told to stop; trouble is met by trying again."""
    desks: dict[str, Desk] = {}
    while not stop.is_set():
        for name in settings.signers:
            try:
                if name not in desks:
                    desks[name] = open_desk(settings, engine, name)
                work_once(desks[name])
            except (NodeAway, *Unavailable) as error:
                gist = str(error).split("\n", 1)[0]
                log.warning("work_retried signer=%s cause=%s", name, gist)
        stop.wait(WORK_SECONDS)
