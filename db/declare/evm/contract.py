"""Contracts: emitters of events that an ABI describes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from db.declare.artifacts import load_abi
from db.declare.emitters import Emitter, implicit
from db.declare.errors import DeclarationError
from db.declare.events import FieldRef
from db.declare.evm.signatures import identity, names_of, signature
from db.declare.evm.types import holds, is_reference_type
from db.declare.fields import Bytes32, Field
from db.declare.names import camel_case

Abi = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Contract(Emitter):
    """A contract whose events are indexed.

    Its addresses come from the settings, under its name, or from the logs of factories:
    `created_by` is the event field that announces each child, or several of them. `abi`
    is given for contracts that have no file under `abis/`.

    Calls of it end with their command's id, which contracts do not read. For one that
    does (it hashes its calldata, or passes it on), say `tagged=False`: calls are known
    by what they do then. What that costs: `ops/decisions/0010-calls-without-id.md`.
    """

    implicit: ClassVar[Mapping[str, Field]] = implicit(Bytes32())

    name: str
    created_by: FieldRef | Sequence[FieldRef] = ()
    tagged: bool = True
    abi: Abi = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if not self.abi:
            object.__setattr__(self, "abi", load_abi(self.name))

    @property
    def interface(self) -> Abi:
        """The ABI."""
        return self.abi

    @property
    def makers(self) -> dict[str, FieldRef]:
        """The event fields that announce its instances, by `<event>.<field>`."""
        given = self.created_by
        refs = (given,) if isinstance(given, FieldRef) else given
        return {ref.describe(): ref for ref in refs}

    @property
    def remarks(self) -> Sequence[str]:
        """Whether calls of it are tagged."""
        return () if self.tagged else ["Calls of it carry no id of their command."]

    def make_by(self, makers: Sequence[FieldRef]) -> None:
        """Say what announces its instances, which may be events of its own."""
        object.__setattr__(self, "created_by", tuple(makers))

    def find(self, subject: str, wanted: str) -> Mapping[str, Any]:
        """Find an event by its name, signature or identity; see `Emitter`."""
        events = [item for item in self.abi if item.get("type") == "event"]
        found = [item for item in events if wanted in names_of(item)]
        if not found:
            known = ", ".join(sorted(signature(item) for item in events)) or "none"
            raise DeclarationError(
                subject,
                f"the ABI of {self.name} has no event {wanted}",
                f"write name= with one of its events: {known}",
            )
        if len(found) > 1:
            by_signature = len({signature(item) for item in found}) == len(found)
            spelled = signature if by_signature else identity
            choices = " or ".join(repr(spelled(item)) for item in found)
            raise DeclarationError(
                subject,
                f"{self.name} has {len(found)} events called {wanted}",
                f"write `name = {choices}`",
            )
        return found[0]

    def bind(self, subject: str, item: Field, schema: Mapping[str, Any]) -> None:
        """Tie a field to its ABI parameter; see `Emitter`."""
        if item.emitter:
            return
        inputs = {part["name"]: part for part in schema["inputs"]}
        names = [item.param] if item.param else [item.name, camel_case(item.name)]
        param = next((name for name in names if name in inputs), None)
        if param is None:
            raise DeclarationError(
                f"{subject}.{item.name}",
                f"{signature(schema)} has no parameter {' or '.join(map(repr, names))}",
                f"write param= with one of {', '.join(inputs)}",
            )
        part = inputs[param]
        if not holds(item, part["type"], indexed=part["indexed"]):
            hashed = part["indexed"] and is_reference_type(part["type"])
            raise DeclarationError(
                f"{subject}.{item.name}",
                f"{type(item).__name__} cannot hold "
                f"{'indexed ' if part['indexed'] else ''}{part['type']} {param}",
                "use Hash(): only its hash is in the log"
                if hashed
                else "use the field of that type (db.declare.evm.types has the table)",
            )
        item.param = param

    def check_where(
        self, subject: str, where: Mapping[str, Any], schema: Mapping[str, Any]
    ) -> None:
        """Refuse parameters of which a log has no plain value; see `Emitter`."""
        inputs = {part["name"]: part for part in schema["inputs"]}
        for param in where:
            if param not in inputs or is_reference_type(inputs[param]["type"]):
                raise DeclarationError(
                    f"{subject}.where",
                    f"{param!r} is not a plain parameter of {signature(schema)}",
                    f"use one of {', '.join(inputs)}",
                )

    def signature(self, schema: Mapping[str, Any]) -> str:
        """`Transfer(address,address,uint256)`."""
        return signature(schema)
