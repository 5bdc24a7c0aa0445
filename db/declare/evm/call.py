"""Calls of contracts: a function of an ABI, its parameters filled from fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.declare.artifacts import load_abi
from db.declare.calls import ChainCall, field_named
from db.declare.errors import DeclarationError
from db.declare.evm.signatures import canonical_type
from db.declare.evm.types import holds
from db.declare.fields import Field


class Call(ChainCall):
    """A function of a contract, and the field that fills each of its parameters."""

    abi: list[dict[str, Any]] | None = None  # of a contract of the settings

    def __init__(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        at: Any = None,
        value: Any = None,
        **named: Any,
    ) -> None:
        self.contract, _, self.function = function.partition(".")
        self.at, self.value = at, value
        self.arguments = {**(arguments or {}), **named}

    @property
    def plain(self) -> bool:
        """Whether its contract is one of the settings."""
        return self.abi is not None

    def bind(
        self, subject: str, names: Mapping[int, str], fields: Mapping[str, Field]
    ) -> "EvmCallSpec":
        """Check it against the ABI; see `ChainCall`."""
        function = _find_function(subject, self)
        return EvmCallSpec(
            contract=self.contract,
            function=function,
            at=field_named(subject, self.at, names),
            value=field_named(subject, self.value, names),
            arguments=_bind(subject, self, function, names, fields),
        )


@dataclass(frozen=True, slots=True, eq=False)
class EvmCallSpec:
    """A call as it was checked against the ABI."""

    contract: str
    function: Mapping[str, Any]
    at: str | None  # the field with the contract's address, None: from the settings
    value: str | None  # the field with the wei to send
    arguments: Mapping[str, str]  # ABI parameter to field

    @property
    def signature(self) -> str:
        """`registerIssuer(address,string,string)`."""
        types = ",".join(canonical_type(part) for part in self.function["inputs"])
        return f"{self.function['name']}({types})"


def _find_function(subject: str, call: Call) -> Mapping[str, Any]:
    abi = load_abi(call.contract) if call.abi is None else call.abi
    found = [
        item
        for item in abi
        if item.get("type") == "function"
        and item["name"] == call.function
        and {part["name"] for part in item["inputs"]} == set(call.arguments)
    ]
    if len(found) == 1:
        return found[0]
    there = [
        f"{item['name']}({', '.join(part['name'] for part in item['inputs'])})"
        for item in abi
        if item.get("type") == "function" and item["name"] == call.function
    ]
    raise DeclarationError(
        subject,
        f"{call.contract} has no {call.function}({', '.join(call.arguments)})",
        f"call {' or '.join(there) or 'a function of its ABI'}",
    )


def _bind(
    subject: str,
    call: Call,
    function: Mapping[str, Any],
    names: Mapping[int, str],
    fields: Mapping[str, Field],
) -> dict[str, str]:
    bound = {}
    for part in function["inputs"]:
        name = field_named(subject, call.arguments[part["name"]], names)
        assert name is not None
        if not holds(fields[name], part["type"], indexed=False):
            raise DeclarationError(
                f"{subject}.{name}",
                f"{type(fields[name]).__name__} cannot fill {part['type']} "
                f"{part['name']}",
                "use the field of that type (db.declare.evm.types has the table)",
            )
        bound[part["name"]] = name
    return bound
