"""Types of an IDL with their references looked up and their generics filled in."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from idl.codec import fixed_code
from idl.model import IdlError
from idl.types import (
    FLOATS,
    INTEGERS,
    Array,
    Counted,
    Enum,
    FieldLayout,
    Map,
    NamedType,
    Option,
    Primitive,
    Struct,
    Tuple,
    Type,
    Variant,
    Vec,
)

DEPTH_MAX = 32
PARTS_MAX = 100_000  # of all types together, with what they refer to
ARRAY_MAX = 10_485_760  # an account has no more bytes
VARIANTS_MAX = 256

_PRIMITIVES = {*INTEGERS, *FLOATS, "bool", "string", "bytes", "pubkey"}
_OTHER_NAMES = {"publicKey": "pubkey", "usize": "u64", "isize": "i64"}
# Members that make a list or a map of what stands under them.
_LISTS = ("vec", "hashSet", "bTreeSet")
_MAPS = ("hashMap", "bTreeMap")
# Members of our own, for programs without Anchor: the bytes of a length.
_COUNTED = {"bincode": 8, "remainder": 0}

Generics = Mapping[str, Any]  # a Type, or a number in text, for each name
_NO_GENERICS: Generics = MappingProxyType({})


class Types:
    """The named types of one IDL."""

    def __init__(
        self, raw: Sequence[Any], place: str, rename: Callable[[str], str]
    ) -> None:
        self._raw = {each["name"]: each for each in raw}
        self._place = place
        self._rename = rename
        self._known: dict[str, Type] = {}
        self._open: list[str] = []
        self._recursive: set[str] = set()
        self._parts = 0

    def recursive(self) -> dict[str, Type]:
        """Return the types that hold themselves, by name."""
        return {name: self._known[name] for name in sorted(self._recursive)}

    def named(
        self, name: Any, inside: str, given: Sequence[Type | str] = (), depth: int = 0
    ) -> Type:
        """Return the type of a name, its parameters replaced by those given."""
        raw = self._raw.get(name)
        if raw is None:
            known = ", ".join(self._raw) or "none"
            raise IdlError(
                inside, f"there is no type {name!r}", f"add it to types ({known})"
            )
        parameters = [each["name"] for each in raw.get("generics") or []]
        if len(parameters) != len(given):
            raise IdlError(
                inside,
                f"{name} has {len(parameters)} parameters, {len(given)} are given",
                "generate the IDL anew",
            )
        if not given and name in self._known:
            return self._known[name]
        if name in self._open:
            if given or parameters:
                raise IdlError(
                    inside, f"{name} is generic and holds itself", "make it plain"
                )
            self._recursive.add(name)
            return NamedType(name)
        self._open.append(name)
        generics = dict(zip(parameters, given, strict=True))
        layout = self.body(
            raw["type"], f"{self._place}.types.{name}", generics, depth + 1
        )
        self._open.pop()
        if not given:
            self._known[name] = layout
        return layout

    def body(
        self,
        raw: Mapping[str, Any],
        inside: str,
        generics: Generics = _NO_GENERICS,
        depth: int = 0,
    ) -> Type:
        """Return the type that a definition describes: struct, enum or alias."""
        kind = raw["kind"]
        if kind == "struct":
            return self.of_fields(raw.get("fields") or [], inside, generics, depth)
        if kind == "enum":
            return self._enum(raw["variants"], inside, generics, depth)
        if kind in ("alias", "type"):
            of = raw["value"] if "value" in raw else raw["alias"]
            return self.of(of, inside, generics, depth)
        raise IdlError(inside, f"there is no kind {kind!r}", "struct, enum or type")

    def of_fields(
        self,
        raw: Sequence[Any],
        inside: str,
        generics: Generics = _NO_GENERICS,
        depth: int = 0,
    ) -> Struct | Tuple:
        """Return fields with names as a Struct, those without as a Tuple.

        Of fields with one name, which published IDLs have (`padding`), the second is
        `padding_2`.
        """
        if raw and not (isinstance(raw[0], Mapping) and "name" in raw[0]):
            return Tuple(tuple(self.of(t, inside, generics, depth) for t in raw))
        names = _distinct([self._rename(each["name"]) for each in raw])
        return Struct(
            tuple(
                FieldLayout(
                    name,
                    self.of(each["type"], f"{inside}.{each['name']}", generics, depth),
                )
                for name, each in zip(names, raw, strict=True)
            )
        )

    def of(
        self, raw: Any, inside: str, generics: Generics = _NO_GENERICS, depth: int = 0
    ) -> Type:
        """Return the type that an expression names."""
        self._parts += 1
        if depth > DEPTH_MAX or self._parts > PARTS_MAX:
            raise IdlError(
                inside, "its types nest too deeply, or are too many", "flatten them"
            )
        if isinstance(raw, str):
            return self._primitive(raw, inside)
        inner = depth + 1
        [(key, value)] = [item for item in raw.items() if item[0] != "generics"][:1]
        if key == "defined":
            return self._defined(raw, inside, generics, inner)
        if key in ("option", "coption"):
            item = self.of(value, inside, generics, inner)
            return Option(item, key == "coption")
        if key in _LISTS:
            return Vec(self.of(value, inside, generics, inner))
        if key in _COUNTED:
            return _counted(self.of(value, inside, generics, inner), key, inside)
        if key in _MAPS:
            first, second = (self.of(t, inside, generics, inner) for t in value)
            return Map(first, second)
        if key == "array":
            item = self.of(value[0], inside, generics, inner)
            return Array(item, self._size(value[1], inside, generics))
        if key == "tuple":
            return Tuple(tuple(self.of(t, inside, generics, inner) for t in value))
        if key == "generic" and not isinstance(generics[value], str):
            found: Type = generics[value]
            return found
        raise IdlError(inside, f"there is no type {key!r}", "generate the IDL anew")

    def _primitive(self, name: str, inside: str) -> Type:
        name = _OTHER_NAMES.get(name, name)
        if name not in _PRIMITIVES:
            raise IdlError(
                inside, f"there is no type {name!r}", "write {defined: …} for one's own"
            )
        return Primitive(name)

    def _defined(
        self, raw: Mapping[str, Any], inside: str, generics: Generics, depth: int
    ) -> Type:
        defined = raw["defined"]
        given = raw.get("generics") or []
        if isinstance(defined, Mapping):
            given = defined.get("generics") or []
            defined = defined["name"]
        arguments: list[Type | str] = []
        for each in given:
            if each["kind"] == "type":
                arguments.append(self.of(each["type"], inside, generics, depth))
            else:
                arguments.append(str(generics.get(each["value"], each["value"])))
        return self.named(defined, inside, arguments, depth)

    def _size(self, raw: Any, inside: str, generics: Generics) -> int:
        if isinstance(raw, Mapping):
            raw = generics[raw["generic"]]
        if not str(raw).isdecimal() or int(raw) > ARRAY_MAX:
            raise IdlError(inside, f"an array of size {raw!r}", "write its length")
        return int(raw)

    def _enum(
        self, raw: Sequence[Any], inside: str, generics: Generics, depth: int
    ) -> Enum:
        if not 0 < len(raw) <= VARIANTS_MAX:
            raise IdlError(inside, f"an enum of {len(raw)} variants", "1 to 256")
        variants = []
        for each in raw:
            fields = each.get("fields")
            place = f"{inside}.{each['name']}"
            variants.append(
                Variant(
                    str(each["name"]),
                    self.of_fields(fields, place, generics, depth) if fields else None,
                )
            )
        return Enum(tuple(variants))


def _counted(item: Type, key: str, inside: str) -> Counted:
    """A type whose length is written otherwise; only some have one."""
    is_text = item in (Primitive("string"), Primitive("bytes"))
    fixed = isinstance(item, Vec) and fixed_code(item.item) is not None
    if not is_text and not fixed:
        raise IdlError(
            inside, f"{key} of what has no length", "string, bytes, or vec of a number"
        )
    return Counted(item, _COUNTED[key])


def named_fields(layout: Type, inside: str) -> tuple[FieldLayout, ...]:
    """Return the fields of a struct; those of a tuple are called `field_0` and so on.

    Raises IdlError for another type.
    """
    if isinstance(layout, Tuple):
        return tuple(
            FieldLayout(f"field_{at}", item) for at, item in enumerate(layout.items)
        )
    if not isinstance(layout, Struct):
        raise IdlError(inside, "it is not a struct", "describe its fields")
    return layout.fields


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind each that is there before."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found or (number > 1 and free in names):
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found
