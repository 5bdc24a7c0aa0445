"""Commands: what may be asked of a chain, and what is called when it is.

    class RegisterIssuer(Command):
        "Admit an issuer, with the hash of its credential."

        issuer = Address()
        credential = Text()
        memorandum = Text()

        signer = "registrar"
        call = Call(
            "IssuerRegistry.registerIssuer",
            issuer=issuer, vcHash=credential, ipfsHash=memorandum,
        )
        proof = e.IssuerRegistered

`call` names a contract and a function of its ABI, which are checked at import, as are
the arguments; `at=` gives the field that holds the contract's address when a factory
makes many. `signer` is a name in the settings. `proof` is the event that shows that it
was done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abis import load_abi
from db.declare.errors import DeclarationError
from db.declare.events import Event, canonical_type, domain_of, snake_case
from db.declare.fields import Field


class Call:
    """A function of a contract, and the field that fills each of its parameters."""

    def __init__(
        self, function: str, *, at: Any = None, value: Any = None, **arguments: Any
    ) -> None:
        self.contract, _, self.function = function.partition(".")
        self.at, self.value, self.arguments = at, value, arguments


@dataclass(frozen=True, slots=True, eq=False)
class CommandSpec:
    """What was read from a command's class body."""

    name: str
    slug: str
    domain: str
    doc: str
    fields: Mapping[str, Field]
    signer: str
    contract: str
    function: Mapping[str, Any]
    at: str | None  # the field with the contract's address, None: from the settings
    value: str | None  # the field with the wei to send
    arguments: Mapping[str, str]  # ABI parameter to field
    proof: type[Event]

    @property
    def signature(self) -> str:
        """`registerIssuer(address,string,string)`."""
        types = ",".join(canonical_type(part) for part in self.function["inputs"])
        return f"{self.function['name']}({types})"


class Command:
    """The base of all declared commands."""

    spec: CommandSpec

    def __init_subclass__(cls) -> None:
        body = cls.__dict__
        fields = {name: item for name, item in body.items() if isinstance(item, Field)}
        call, proof, signer = (body.get(n) for n in ("call", "proof", "signer"))
        if not isinstance(call, Call):
            raise DeclarationError(
                cls.__name__, "it calls nothing", 'write `call = Call("Contract.f", …)`'
            )
        if not isinstance(signer, str):
            raise DeclarationError(
                cls.__name__, "it has no signer", 'write `signer = "<name>"`'
            )
        if not (isinstance(proof, type) and issubclass(proof, Event)):
            raise DeclarationError(
                cls.__name__, "nothing proves it", "write `proof = <Event>`"
            )
        names = {id(item): name for name, item in fields.items()}
        function = _find_function(cls.__name__, call)
        cls.spec = CommandSpec(
            name=cls.__name__,
            slug=snake_case(cls.__name__).replace("_", "-"),
            domain=body.get("__domain__", domain_of(cls.__module__)),
            doc=(cls.__doc__ or "").strip(),
            fields=fields,
            signer=signer,
            contract=call.contract,
            function=function,
            at=_field_name(cls.__name__, call.at, names),
            value=_field_name(cls.__name__, call.value, names),
            arguments=_bind(cls.__name__, call, function, names, fields),
            proof=proof,
        )


def _find_function(subject: str, call: Call) -> Mapping[str, Any]:
    found = [
        item
        for item in load_abi(call.contract)
        if item.get("type") == "function"
        and item["name"] == call.function
        and {part["name"] for part in item["inputs"]} == set(call.arguments)
    ]
    if len(found) == 1:
        return found[0]
    there = [
        f"{item['name']}({', '.join(part['name'] for part in item['inputs'])})"
        for item in load_abi(call.contract)
        if item.get("type") == "function" and item["name"] == call.function
    ]
    raise DeclarationError(
        subject,
        f"{call.contract} has no {call.function}({', '.join(call.arguments)})",
        f"call {' or '.join(there) or 'a function of its ABI'}",
    )


def _field_name(subject: str, item: Any, names: Mapping[int, str]) -> str | None:
    if item is None:
        return None
    if id(item) not in names:
        raise DeclarationError(
            subject, f"{item!r} is not one of its fields", "name a field of the command"
        )
    return names[id(item)]


def _bind(
    subject: str,
    call: Call,
    function: Mapping[str, Any],
    names: Mapping[int, str],
    fields: Mapping[str, Field],
) -> dict[str, str]:
    bound = {}
    for part in function["inputs"]:
        name = _field_name(subject, call.arguments[part["name"]], names)
        assert name is not None
        if not fields[name].accepts(part["type"], indexed=False):
            raise DeclarationError(
                f"{subject}.{name}",
                f"{type(fields[name]).__name__} cannot fill {part['type']} "
                f"{part['name']}",
                "use the field of that type (db.declare.fields has the table)",
            )
        bound[part["name"]] = name
    return bound
