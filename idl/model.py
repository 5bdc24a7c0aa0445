"""IDLs of Anchor programs as layouts: of Anchor before 0.30, and of spec 0.1.0.

Both forms become the same `Idl` (`idl.parse`), so nothing else knows of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from idl.types import FieldLayout, Type


class IdlError(ValueError):
    """An IDL that cannot be used; says where, why, and what to do."""

    def __init__(self, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}: {remedy}")
        self.place = place


@dataclass(frozen=True, slots=True)
class EventLayout:
    """An event: the bytes it begins with, and its fields in order."""

    name: str
    discriminator: bytes
    fields: tuple[FieldLayout, ...]


@dataclass(frozen=True, slots=True)
class Seed:
    """A part of what an address is derived from.

    Bytes, or the name of an argument or of an account.
    """

    kind: str  # const, arg or account
    value: bytes = b""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Derived:
    """An address that a program owns, derived from seeds (Anchor's `pda`).

    `program` is None for the program that has the instruction.
    """

    seeds: tuple[Seed, ...]
    program: Seed | None = None

    @property
    def parts(self) -> tuple[Seed, ...]:
        """All that it follows from: the seeds, and what names the program."""
        return self.seeds if self.program is None else (*self.seeds, self.program)


@dataclass(frozen=True, slots=True)
class AccountRef:
    """An account that an instruction names; of a group, `group_account`.

    `address` is given where it is the same in every call, `derived` where it follows
    from others. With `remaining` it stands for all accounts from its place on.
    """

    name: str
    writable: bool = False
    signer: bool = False
    optional: bool = False
    remaining: bool = False
    address: bytes | None = None
    derived: Derived | None = None


@dataclass(frozen=True, slots=True)
class InstructionLayout:
    """An instruction: its first bytes, the accounts it names, and its arguments."""

    name: str  # in snake_case
    discriminator: bytes
    accounts: tuple[AccountRef, ...]
    fields: tuple[FieldLayout, ...]
    bare: bool = False  # whether no data at all is this instruction, too

    @property
    def account_fields(self) -> tuple[str, ...]:
        """Return a name for each account that no argument has."""
        taken = {each.name for each in self.fields}
        return tuple(
            f"{ref.name}_account" if ref.name in taken else ref.name
            for ref in self.accounts
        )


T = TypeVar("T", EventLayout, InstructionLayout)


@dataclass(frozen=True, slots=True)
class AccountLayout:
    """The data of an account: the bytes it begins with, and its fields in order."""

    name: str
    discriminator: bytes
    fields: tuple[FieldLayout, ...]


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The name and words of an error code of a program."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Idl:
    """Everything that a program says about its bytes.

    `types` has the types that hold themselves, which `Named` refers to.
    """

    name: str
    address: bytes | None  # 32 bytes, if the IDL says
    events: tuple[EventLayout, ...] = ()
    instructions: tuple[InstructionLayout, ...] = ()
    accounts: tuple[AccountLayout, ...] = ()
    errors: Mapping[int, ErrorText] = field(
        default_factory=lambda: MappingProxyType({})
    )
    types: Mapping[str, Type] = field(default_factory=lambda: MappingProxyType({}))

    def event(self, name: str) -> EventLayout:
        """Return the event of a name; raises IdlError that lists those there are."""
        return _named(self.name, "event", self.events, name)

    def instruction(self, name: str) -> InstructionLayout:
        """Return the instruction of a name; raises IdlError that lists the others."""
        return _named(self.name, "instruction", self.instructions, name)


@dataclass(frozen=True, slots=True)
class IdlVersion:
    """An IDL, and the first slot of the program that it describes."""

    first: int
    idl: Idl


def _named(idl: str, what: str, layouts: tuple[T, ...], name: str) -> T:
    for layout in layouts:
        if layout.name == name:
            return layout
    known = ", ".join(layout.name for layout in layouts) or "none"
    raise IdlError(idl, f"there is no {what} {name!r}", f"name one of: {known}")
