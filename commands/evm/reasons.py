"""Find why a call failed in its block: the contract's error, or a lack of gas."""

from commands.errors import NodeAway
from commands.evm.encode import explain_revert
from commands.evm.node import Mined, Node
from db.commands.evm.failures import FailedCall


def why_failed(node: Node, call: FailedCall) -> str:
    """The reason, in the contract's own words where the index or a node has them."""
    if call.gas_used == call.gas_limit:
        return f"out of gas: it used all of its limit, {call.gas_limit}"
    if call.revert_data:
        return explain_revert("", call.revert_data, "execution reverted")
    mined = Mined(
        call.sender, call.to, call.value, call.data, call.gas_limit, call.height
    )
    try:
        found = node.replay(mined)
    except NodeAway:
        return "it reverted, and no node could be asked why"
    if found is None:
        return "it reverted in its block, and does not when it is run again"
    return explain_revert("", found.data, str(found))
