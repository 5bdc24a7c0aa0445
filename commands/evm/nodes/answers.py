"""Read nodes' answers: numbers in their bounds, and which errors are reverts."""

import re
from typing import Any

from commands.errors import NodeAway
from commands.evm.node import Mined, NoMoney, Reverted
from commands.rpc.endpoint import NodeError

GAS_BITS = 48
HEIGHT_BITS = 31
NONCE_BITS = 53
PRICE_BITS = 96
WEI_BITS = 256

BARE = "execution reverted"
NO_REASON = "it reverts, and the node does not say why"

_REVERTED = 3  # the code that geth, Erigon, anvil and later Edge give a revert
# What a node says when it ran a call and the contract would not have it. Polygon Edge
# up to 0.9 says so in the words of an estimate that failed for any reason.
_REVERT_TEXTS = re.compile(
    r"execution (was )?reverted"
    r"|vm exception while processing transaction"
    r"|vm execution error"
    r"|transaction (may|would|will) (fail|revert)"
    r"|invalid opcode"
    r"|bad jump destination|invalid jump"
    r"|stack (under|over)flow",
    re.IGNORECASE,
)
_MONEY_TEXTS = re.compile(
    r"insufficient (funds|balance)|not enough (funds|balance)", re.IGNORECASE
)
_REASON = re.compile(r"revert(?:ed)?(?: with reason string)?\s*:?\s+(?P<why>.+)$")


def quantity(value: Any, bits: int) -> int:
    """A number as nodes write it; raises ValueError for none, or one beyond `bits`."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    number = value
    if isinstance(value, str):
        if not re.fullmatch(r"0x[0-9a-fA-F]{1,64}", value):
            raise ValueError(f"{value[:40]!r} is no number")
        number = int(value, 16)
    if not 0 <= int(number) < 1 << bits:
        raise ValueError(f"{str(value)[:40]} is out of range")
    return int(number)


def content(value: Any) -> bytes:
    """Bytes as nodes write them; raises ValueError for anything else."""
    if not isinstance(value, str) or not re.fullmatch(r"0x([0-9a-fA-F]{2})*", value):
        raise ValueError(f"{str(value)[:40]!r} is no bytes")
    return bytes.fromhex(value[2:])


def chain_of(value: Any) -> int:
    """The number of a chain; raises ValueError."""
    return quantity(value, NONCE_BITS)


def height_of(value: Any) -> int:
    """The height of a block; raises ValueError."""
    return quantity(value, HEIGHT_BITS)


def nonce_of(value: Any) -> int:
    """A count of transactions; raises ValueError."""
    return quantity(value, NONCE_BITS)


def gas_of(value: Any) -> int:
    """An amount of gas; raises ValueError."""
    return quantity(value, GAS_BITS)


def hash_of(value: Any) -> bytes:
    """The hash of a transaction; raises ValueError."""
    found = content(value)
    if len(found) != 32:
        raise ValueError(f"{str(value)[:40]!r} is no hash")
    return found


def call_of(
    sender: bytes, to: bytes, value: int, data: bytes, gas: int | None = None
) -> dict[str, str]:
    """A call as `eth_call` takes it (Ethereum JSON-RPC specification)."""
    call = {
        "from": "0x" + sender.hex(),
        "to": "0x" + to.hex(),
        "value": hex(value),
        "data": "0x" + data.hex(),
    }
    return call if gas is None else call | {"gas": hex(gas)}


def call_as_mined(mined: Mined) -> dict[str, str]:
    """A call that was in a block, with the gas that it had."""
    return call_of(mined.sender, mined.to, mined.value, mined.data, mined.gas_limit)


def is_revert(error: NodeError) -> bool:
    """Whether an error means that the call was executed and reverted."""
    if error.code == _REVERTED or len(error.data) >= 4:
        return True
    return bool(_REVERT_TEXTS.search(error.message))


def reason_of(error: NodeError) -> str:
    """The reason that the words of a revert hold, if they hold one."""
    match = _REASON.search(error.message)
    return match["why"].strip("' ") if match else ""


def reverted_in(trace: Any) -> Reverted:
    """Return a call's output from a trace (geth's struct logger); raises ValueError."""
    if not isinstance(trace, dict) or trace.get("failed") is not True:
        raise ValueError("a trace of a call that did not fail")
    given = str(trace.get("returnValue") or "").removeprefix("0x")
    data = bytes.fromhex(given)
    return Reverted(data, BARE if data else NO_REASON)


def refusal(error: NodeError, label: str) -> Exception:
    """Classify the error of a call or an estimate: Reverted, NoMoney or NodeAway."""
    if is_revert(error):
        unsaid = BARE if error.data else NO_REASON
        return Reverted(error.data, reason_of(error) or unsaid)
    if _MONEY_TEXTS.search(error.message):
        return NoMoney(f"the account cannot pay for it: {error.message}")
    return NodeAway(f"{label} says: {error.message}")
