"""From settings to the nodes that the write side asks and sends through."""

from collections.abc import Callable, Mapping

from sqlalchemy import Engine

from api.auth.options import ContractCall
from commands.errors import NodeAway
from commands.evm.node import Reverted
from commands.evm.nodes.pool import Nodes
from db import blocks
from db.reads import read
from ops.chains.evm.client import evm_chain_number
from ops.settings import ChainSettings, Settings

CALL_SECONDS = 3.0  # for what somebody asks who has not signed in yet
CALLS_AT_ONCE = 4


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


def last_indexed(engine: Engine, source: int) -> Callable[[], int]:
    """Tells the highest block that is written of a source; -1: none."""

    def look() -> int:
        tip = read(engine, lambda connection: blocks.tip(connection, source))
        return -1 if tip is None else tip.height

    return look


def open_callers(settings: Settings) -> dict[int, Nodes]:
    """The nodes that check contract signatures (ERC-1271), by chain.

    Anybody may make us ask them: so few are asked at once, and for a short time.
    """
    found = {}
    for chain in settings.chains.values():
        if chain.id.startswith("eip155:"):
            number = evm_chain_number(chain)
            found[number] = Nodes.at(
                [str(url) for url in chain.rpc], chain_id=number,
                timeout_seconds=CALL_SECONDS, at_once=CALLS_AT_ONCE,
            )  # fmt: skip
    return found


def contract_call(nodes: Mapping[int, Nodes]) -> ContractCall:
    """Asks contracts, by the number of their chain; for wallets that are contracts."""

    def call(chain_id: int, address: bytes, data: bytes) -> bytes:
        try:
            return nodes[chain_id].call(address, data)
        except Reverted:
            return b""  # so it does not accept
        except NodeAway as error:
            raise NodeAway(
                f"the node of chain {chain_id} does not answer; try again soon"
            ) from error

    return call
