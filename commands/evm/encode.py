"""Calls as bytes: arguments by the ABI, with the command's id behind them.

The id rides as a suffix of the calldata, which contracts do not read; see
`db.commands.evm.tags`. Calls of a contract that is declared with `tagged=False` have
none.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from abis import contract_names, load_abi
from commands.arguments import BadArguments
from db.commands.evm.tags import command_id_of, tag_of
from db.declare.evm.call import EvmCallSpec
from db.declare.evm.signatures import canonical_type

_ERROR = keccak(text="Error(string)")[:4]
SHOWN_BYTES, SHOWN_TEXT = 68, 500  # of what a contract gives back
_PANIC = keccak(text="Panic(uint256)")[:4]

PANICS = {
    0x01: "assertion failed", 0x11: "arithmetic overflow", 0x12: "division by zero",
    0x21: "not a value of the enum", 0x31: "pop of an empty array",
    0x32: "index out of bounds", 0x41: "out of memory",
}  # fmt: skip


def calldata(
    call: EvmCallSpec, arguments: Mapping[str, Any], command_id: uuid.UUID | None
) -> bytes:
    """The bytes of the call, with the command's id behind them, if it is to have one.

    Raises BadArguments where arguments would pass for the id of a command.
    """
    inputs = call.function["inputs"]
    types = [canonical_type(part) for part in inputs]
    values = [arguments[call.arguments[part["name"]]] for part in inputs]
    data = keccak(text=call.signature)[:4] + encode(types, values)
    if command_id is not None:
        return data + tag_of(command_id)
    if command_id_of(data) is not None:
        problem = (
            "the last argument ends with the reserved 16-byte command marker: "
            "change its last bytes"
        )
        raise BadArguments([problem])
    return data


def explain_revert(contract: str, data: bytes, message: str) -> str:
    """Explain a revert, with the names and arguments of the contract's own errors.

    A contract may pass on what another said: then it is an error of any ABI of ours.
    """
    selector, body = data[:4], data[4:]
    reason_text = f"{message} (0x{data[:SHOWN_BYTES].hex()})" if data else message
    try:
        if selector == _ERROR:
            return str(decode(["string"], body)[0])[:SHOWN_TEXT] or reason_text
        if selector == _PANIC:
            code = int(decode(["uint256"], body)[0])
            return f"panic: {PANICS.get(code, hex(code))}"
        item = _error_item(contract, selector)
        if item is not None:
            types = [canonical_type(part) for part in item["inputs"]]
            reason_text = f"{item['name']}({_arguments(item, decode(types, body))})"
    except Exception:  # a contract may revert with any bytes
        return reason_text
    return reason_text[:SHOWN_TEXT]


def _error_item(contract: str, selector: bytes) -> Mapping[str, Any] | None:
    """The declared error with a selector: the contract's own, or another's."""
    known = contract_names()
    for name in (contract, *known) if contract in known else known:
        for item in load_abi(name):
            if item.get("type") == "error" and _selector(item) == selector:
                return item
    return None


def _selector(item: Mapping[str, Any]) -> bytes:
    types = ",".join(canonical_type(part) for part in item["inputs"])
    return keccak(text=f"{item['name']}({types})")[:4]


def _arguments(item: Mapping[str, Any], values: tuple[Any, ...]) -> str:
    shown = []
    for part, value in zip(item["inputs"], values, strict=True):
        text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
        shown.append(f"{part['name']}={text}")
    return ", ".join(shown)
