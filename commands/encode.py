"""Calls as bytes: arguments by the ABI, with the command's id behind them.

The id rides as a suffix of the calldata, which contracts do not read; see
`db.commands.tags`. Calls of a contract that is declared with `tagged=False` have none.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from abis import load_abi
from commands.errors import CommandError
from db.commands.tags import command_id_of, tag_of
from db.declare.commands import CallSpec, CommandSpec
from db.declare.events import canonical_type

_ERROR = keccak(text="Error(string)")[:4]
_PANIC = keccak(text="Panic(uint256)")[:4]

PANICS = {
    0x01: "assertion failed", 0x11: "arithmetic overflow", 0x12: "division by zero",
    0x21: "not a value of the enum", 0x31: "pop of an empty array",
    0x32: "index out of bounds", 0x41: "out of memory",
}  # fmt: skip


NAME_SHOWN = 60


class BadArguments(CommandError):
    """The arguments of a request are not what the command takes."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def check_arguments(spec: CommandSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in canonical Python form; raises BadArguments with every reason."""
    problems = [
        f"{name[:NAME_SHOWN]}: no such argument; there is {', '.join(spec.fields)}"
        for name in given
        if name not in spec.fields
    ]
    checked: dict[str, Any] = {}
    for name, field in spec.fields.items():
        if name not in given:
            problems.append(f"{name}: it is required")
            continue
        try:
            checked[name] = field.check_given(given[name])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise BadArguments(problems)
    return checked


def calldata(
    call: CallSpec, arguments: Mapping[str, Any], command_id: uuid.UUID | None
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
            f"the last ends as a command's id does, and {call.contract} takes none"
        )
        raise BadArguments([problem])
    return data


def explain_revert(contract: str, data: bytes, message: str) -> str:
    """Why a call reverts, with the names and arguments of the contract's own errors."""
    selector, body = data[:4], data[4:]
    try:
        if selector == _ERROR:
            return str(decode(["string"], body)[0])
        if selector == _PANIC:
            code = int(decode(["uint256"], body)[0])
            return f"panic: {PANICS.get(code, hex(code))}"
        for item in load_abi(contract):
            if item.get("type") != "error":
                continue
            types = [canonical_type(part) for part in item["inputs"]]
            if keccak(text=f"{item['name']}({','.join(types)})")[:4] == selector:
                return f"{item['name']}({_arguments(item, decode(types, body))})"
    except Exception:  # a contract may revert with any bytes
        return f"{message} (0x{data.hex()})"
    return f"{message} (0x{data.hex()})" if data else message


def _arguments(item: Mapping[str, Any], values: tuple[Any, ...]) -> str:
    shown = []
    for part, value in zip(item["inputs"], values, strict=True):
        text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
        shown.append(f"{part['name']}={text}")
    return ", ".join(shown)
