"""The types of an IDL: Borsh as Anchor uses it (borsh.io, Anchor's IDL spec 0.1.0).

References to named types are resolved, so a layout is a tree. Only a type that holds
itself is left as `NamedType`, to be looked up in `Idl.types`.
"""

from dataclasses import dataclass, fields, is_dataclass

INTEGERS = {
    f"{sign}{bits}": (sign == "i", bits // 8)
    for sign in "ui"
    for bits in (8, 16, 32, 64, 128, 256)
}
FLOATS = {"f32": 4, "f64": 8}


@dataclass(frozen=True, slots=True)
class Primitive:
    """An integer `u8` to `i256`, `f32`, `f64`, `bool`, `string`, `bytes`, `pubkey`."""

    name: str


@dataclass(frozen=True, slots=True)
class Option:
    """A value that may be absent; `c_option`: tagged by 4 bytes, and never shorter."""

    item: "Type"
    c_option: bool = False


@dataclass(frozen=True, slots=True)
class Vec:
    """A list with its length before it; sets are written so too."""

    item: "Type"


@dataclass(frozen=True, slots=True)
class Counted:
    """A text, bytes or list whose length is not written as Borsh writes it.

    It has `size` bytes: 8 as bincode writes it, or 0 where the value is all that is
    left. A list of what is left holds values of one fixed size.
    """

    item: "Type"
    size: int


@dataclass(frozen=True, slots=True)
class Array:
    """A list of a fixed length."""

    item: "Type"
    size: int


@dataclass(frozen=True, slots=True)
class Map:
    """Pairs of key and value with their number before them."""

    key: "Type"
    value: "Type"


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """One field of a struct, or argument; its name is in snake_case."""

    name: str
    type: "Type"


@dataclass(frozen=True, slots=True)
class Struct:
    """Fields one after the other."""

    fields: tuple[FieldLayout, ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    """Values without names, one after the other."""

    items: tuple["Type", ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """One case of an enum; `type` is None when it carries nothing."""

    name: str
    type: Struct | Tuple | None


@dataclass(frozen=True, slots=True)
class Enum:
    """One of several variants, numbered by one byte."""

    variants: tuple[Variant, ...]

    @property
    def bare(self) -> bool:
        """Whether no variant carries data."""
        return all(variant.type is None for variant in self.variants)


@dataclass(frozen=True, slots=True)
class NamedType:
    """A type that holds itself; its layout is in `Idl.types`."""

    name: str


Type = (
    Primitive | Option | Vec | Counted | Array | Map | Struct | Tuple | Enum | NamedType
)

U8 = Primitive("u8")
PUBKEY = Primitive("pubkey")


def holds_itself(layout: object) -> bool:
    """Whether a type, or a layout, has a part that holds itself (`NamedType`)."""
    if isinstance(layout, tuple):
        return any(map(holds_itself, layout))
    if isinstance(layout, NamedType) or not is_dataclass(layout):
        return isinstance(layout, NamedType)
    return any(holds_itself(getattr(layout, each.name)) for each in fields(layout))


def uncounted(type_: Type) -> Type:
    """Return the type of the values, however their length is written."""
    return type_.item if isinstance(type_, Counted) else type_


def is_bytes(type_: Type) -> bool:
    """Whether values are bytes without a meaning of their own: `bytes`, lists of u8."""
    if isinstance(type_, (Vec, Array)):
        return type_.item == U8
    return type_ == Primitive("bytes")
