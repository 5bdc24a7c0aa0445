"""Nodes that check signatures of contracts (ERC-1271), from the settings."""

from collections.abc import Mapping

from api.auth.options import ContractCall
from commands.errors import NodeAway
from commands.evm.node import Reverted
from commands.evm.nodes.pool import Nodes
from ops.chains.evm.client import evm_chain_number
from ops.settings import Settings

CALL_SECONDS = 3.0  # for what somebody asks who has not signed in yet
CALLS_AT_ONCE = 4


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
