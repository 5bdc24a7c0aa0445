"""Clients of EVM nodes, as the settings describe them."""

from sqlalchemy import Engine

from indexer.evm.client import RpcClient
from indexer.rpc.client import ATTEMPTS
from ops.chains.limits import PostgresLimits
from ops.errors import OperationError
from ops.settings import ChainSettings, Settings


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
            f"[chains.{chain.name}] id = {chain.id!r} is no EVM chain (eip155:…): name "
            "one of those"
        )
    return int(number)
