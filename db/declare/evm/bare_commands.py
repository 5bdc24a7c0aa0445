"""Commands of contracts without code: the plain call of a function of their ABI.

Its fields are the function's parameters, named as columns of events are (`bare`); a
payable function has `wei` besides, and where the contract has several addresses, or a
factory makes them, `contract` says which is called.
"""

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.declare.commands import CALLER, WORDS, Command
from db.declare.errors import DeclarationError
from db.declare.events import Event
from db.declare.evm.bare import with_names
from db.declare.evm.call import Call
from db.declare.evm.signatures import names_of, signature
from db.declare.evm.types import field_for_abi
from db.declare.fields import Address, Field, Int, Uint
from db.declare.given_meanings import Carrier, Meanings, give_meanings, have_amounts
from db.declare.naming import column_name, emitter_domain, free_name
from db.declare.roles import Role

CALLER_NAME = "caller"  # in the place of a signer's name
_TAKEN = {*WORDS, "values", "spec", "as_json"}  # names that no field may have


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A command of a contract: its name, whom it takes, and the function it calls."""

    contract: str
    name: str
    function: str
    roles: tuple[Role, ...]
    signer: str
    proof: type[Event] | None = None
    doc: str = ""
    one_address: bool = True  # where the contract has no other
    meanings: Meanings = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The section that declares it."""
        return f"[contracts.{self.contract}.commands.{self.name}]"


def declare_command(
    given: PlainCall, abi: Sequence[Mapping[str, Any]]
) -> type[Command]:
    """The command of a contract's function; raises DeclarationError."""
    item = _function(given, abi)
    fields: dict[str, Field] = {}
    arguments: dict[str, Field] = {}
    for part in item["inputs"]:
        name = free_name(column_name(part["name"]), {*fields, *_TAKEN})
        try:
            argument = field_for_abi(part["type"], indexed=False, param="")
        except ValueError as error:
            raise _wrong(given, f"{error}", "call another function") from None
        fields[name] = arguments[part["name"]] = argument
    value = at = None
    if item.get("stateMutability") == "payable":
        value = fields[free_name("wei", fields)] = Uint()
    if not given.one_address:
        at = fields[free_name("contract", fields)] = Address()
    meant = give_meanings(given.meanings, (names_of(item), fields))
    if have_amounts(given.meanings):
        _refuse_unmeant(
            given, item, {k: v for k, v in fields.items() if k not in meant}
        )
    call = Call(f"{given.contract}.{item['name']}", arguments, at=at, value=value)
    call.abi = [item]
    domain = emitter_domain(given.contract)
    words = f"{domain}_{given.name}".replace("-", "_").split("_")
    body = {
        **fields,
        "role": given.roles,
        "signer": CALLER if given.signer == CALLER_NAME else given.signer,
        "call": call,
        "proof": given.proof,
        "__doc__": given.doc or f"Call {signature(item)} of {given.contract}.",
        "__domain__": domain,
        "__module__": __name__,
    }
    return type("".join(word.capitalize() for word in words), (Command,), body)


def _refuse_unmeant(
    given: PlainCall, item: Mapping[str, Any], fields: Mapping[str, Field]
) -> None:
    """Raise for a number that may be an amount, where amounts are shown in units.

    Who reads 12.5 and sends 12.5 as 13 of the smallest unit, or the other way round,
    is wrong by 10**decimals.
    """
    for name, each in fields.items():
        if isinstance(each, Uint | Int) and not each.in_number:
            raise _wrong(
                given,
                f"{item['name']}.{name} has no meaning, and other amounts of "
                f"{given.contract} are in units",
                f'write {item["name"]}.{name} = "amount …" in '
                f'[contracts.{given.contract}.meanings], or "number" if it is none',
            )


def plain_functions(abi: Sequence[Mapping[str, Any]]) -> Iterator[Carrier]:
    """The names of each function of an ABI, and the fields that its call would have."""
    for item in (with_names(each) for each in abi if each.get("type") == "function"):
        fields: dict[str, Field] = {}
        for part in item["inputs"]:
            name = free_name(column_name(part["name"]), {*fields, *_TAKEN})
            with contextlib.suppress(ValueError):  # a type that is not known
                fields[name] = field_for_abi(part["type"], indexed=False, param="")
        yield names_of(item), fields


def _function(given: PlainCall, abi: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The one function of the ABI that is meant, its parameters named."""
    named = [with_names(item) for item in abi if item.get("type") == "function"]
    changing = [i for i in named if i.get("stateMutability") not in ("view", "pure")]
    found = [i for i in named if given.function in (i["name"], signature(i))]
    if not found:
        known = [str(item["name"]) for item in changing]
        close = difflib.get_close_matches(given.function, known, n=1)
        raise _wrong(
            given,
            f"{given.contract} has no function {given.function}",
            f'write function = "{close[0]}"'
            if close
            else f"call one of {', '.join(sorted(set(known))) or 'another contract'}",
        )
    if len(found) > 1:
        choices = " or ".join(f'"{signature(item)}"' for item in found)
        raise _wrong(
            given,
            f"{given.contract} has {len(found)} functions {given.function}",
            f"write function = {choices}",
        )
    if found[0] not in changing:
        raise _wrong(given, f"{given.function} changes nothing", "read it from a node")
    return found[0]


def _wrong(given: PlainCall, problem: str, remedy: str) -> DeclarationError:
    return DeclarationError(given.name, problem, remedy, given.place)
