"""From settings to where commands are taken."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from commands.node import EvmNode
from commands.submit import Intake
from db import sources
from ops.commanding import contract_addresses, signing_chain
from ops.indexing import declared, evm_chain_number, ordinals, streams
from ops.settings import Settings


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def open_intake(settings: Settings, engine: Engine) -> Intake:
    """Where commands for the one chain of the settings are taken."""
    chain = signing_chain(settings)
    with engine.begin() as connection:
        row = sources.register(
            connection, name=chain.name, chain_id=chain.id, ordinals=ordinals(chain)
        )
    return Intake(
        engine=engine,
        source=row.id,
        chain_id=evm_chain_number(chain),
        node=EvmNode.at(str(chain.rpc[0]), settings.limits.request_timeout_seconds),
        addresses=contract_addresses(settings),
        plan=streams(settings, declared(settings))[chain.name][1],
        clock=now,
    )
