"""Programs: emitters of events and instructions that an IDL describes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from operator import eq as is_equal
from operator import is_ as is_same
from typing import Any, ClassVar

from db.declare.artifacts import load_idl
from db.declare.emitters import Emitter, implicit
from db.declare.errors import DeclarationError
from db.declare.fields import Encoding, Field, Signature
from db.declare.solana.types import Part, holds, spelled
from idl import Idl
from idl.model import EventLayout, IdlVersion, InstructionLayout
from idl.types import holds_itself

Layout = EventLayout | InstructionLayout
ACCOUNT = "accounts."  # in front of an account's name where arguments are named too


@dataclass(frozen=True, slots=True, eq=False)
class Program(Emitter):
    """A Solana program whose events and instructions are indexed.

    Its address comes from the settings, under its name. The second
    argument is the IDL of a program that has no file under `idl/`, or its versions:
    each is that of all slots up to the first of the next.
    """

    implicit: ClassVar[Mapping[str, Field]] = implicit(Signature())
    encoding: ClassVar[Encoding] = Encoding.BASE58

    name: str
    given: InitVar[Idl | Sequence[IdlVersion] | None] = None
    idl: Idl = field(init=False, repr=False)
    versions: tuple[IdlVersion, ...] = field(init=False, repr=False)

    def __post_init__(self, given: Idl | Sequence[IdlVersion] | None) -> None:
        if given is None or isinstance(given, Idl):
            given = [IdlVersion(0, given or load_idl(self.name))]
        object.__setattr__(self, "versions", tuple(given))
        object.__setattr__(self, "idl", given[-1].idl)

    @property
    def interface(self) -> Any:
        """The IDL, or all its versions."""
        return self.idl if len(self.versions) == 1 else self.versions

    def known_in(self, schema: Layout) -> list[int]:
        """The numbers of the versions in which a layout is just as it is; from 0."""
        [home, *_] = [
            each.idl
            for matches in (is_same, is_equal)
            for each in self.versions
            if _has(each.idl, schema, matches)
        ]
        alone = holds_itself(schema)
        return [
            number
            for number, each in enumerate(self.versions)
            if _has(each.idl, schema, is_equal)
            and (not alone or each.idl.types == home.types)
        ]

    def heights(self, schema: Layout) -> Sequence[tuple[int, int | None]]:
        """The slots of the versions that have the layout; see `Emitter`."""
        ends = [*(each.first for each in self.versions[1:]), None]
        found: list[tuple[int, int | None]] = []
        for number in self.known_in(schema):
            first = self.versions[number].first
            if found and found[-1][1] == first:
                first, _ = found.pop()
            found.append((first, ends[number]))
        return () if found == [(0, None)] else found

    def find(self, subject: str, wanted: str) -> Layout:
        """Find an event, or an instruction, by its name; see `Emitter`.

        `Deposit@2` is that of the second version, `Deposit` that of the last.
        """
        name, _, version = wanted.partition("@")
        idl = self.versions[int(version) - 1].idl if version else self.idl
        layouts: tuple[Layout, ...] = (*idl.events, *idl.instructions)
        found = [each for each in layouts if each.name == name]
        if len(found) == 1:
            return found[0]
        known = ", ".join(sorted(each.name for each in layouts)) or "none"
        raise DeclarationError(
            subject,
            f"the IDL of {self.name} has {len(found) or 'no'} event or instruction "
            f"{wanted}",
            f"write name= with one of its events and instructions: {known}",
        )

    def bind(self, subject: str, item: Field, schema: Layout) -> None:
        """Tie a field to a field of the layout, or to an account; see `Emitter`.

        An account is named as it is, or with `accounts.` in front of it.
        """
        if item.emitter:
            return
        parts = parts_of(schema)
        wanted = item.param or item.name
        param = wanted if wanted in parts else ACCOUNT + wanted
        if param not in parts:
            raise DeclarationError(
                f"{subject}.{item.name}",
                f"{schema.name} has no field {wanted!r}",
                f"write param= with one of {', '.join(parts)}",
            )
        if not holds(item, parts[param]):
            raise DeclarationError(
                f"{subject}.{item.name}",
                f"{type(item).__name__} cannot hold {spelled(parts[param])} {param}",
                "use the field of that type (db.declare.solana.types has the table)",
            )
        item.param = param

    def check_where(
        self, subject: str, where: Mapping[str, Any], schema: Layout
    ) -> None:
        """Refuse any; see `Emitter`."""
        if where:
            raise DeclarationError(
                f"{subject}.where",
                "events of programs are not narrowed when they are read",
                "narrow what folds them: Event.only(Event.field == value)",
            )

    def signature(self, schema: Layout) -> str:
        """`Settled(buyer: pubkey, amount: u64)`, and the discriminator, if any."""
        parts = ", ".join(f"{k}: {spelled(v)}" for k, v in parts_of(schema).items())
        return f"{schema.name}({parts}) {schema.discriminator.hex()}".rstrip()


def _has(idl: Idl, schema: Layout, matches: Callable[[object, object], bool]) -> bool:
    layouts: tuple[Layout, ...] = (*idl.events, *idl.instructions)
    return any(matches(each, schema) for each in layouts)


def parts_of(layout: Layout) -> dict[str, Part]:
    """The parts of an event or instruction, by the name that binds a field to each."""
    parts: dict[str, Part] = {each.name: each.type for each in layout.fields}
    if isinstance(layout, InstructionLayout):
        parts |= {ACCOUNT + ref.name: ref for ref in layout.accounts}
    return parts
