"""Types of IDLs, and the fields that hold their values.

| IDL type                                   | field                         |
|--------------------------------------------|-------------------------------|
| u8 … u256, i8 … i256                       | Uint, Int                     |
| bool                                       | Bool                          |
| string                                     | Text                          |
| pubkey                                     | Pubkey                        |
| bytes, lists of u8                         | Blob, FixedBytes (1 to 32)    |
| enum whose variants carry nothing          | Text: the variant's name      |
| options, lists, structs, tuples, maps,     | Json                          |
| enums with data, floats                    |                               |

However the length of a text, of bytes or of a list is written, its field is the same.
An account that an instruction names is a Pubkey; one that may be left out is Json, with
null when it is, and so are the remaining accounts: a list.
"""

from db.declare.fields import (
    Blob,
    Bool,
    Field,
    FixedBytes,
    Int,
    Json,
    Pubkey,
    Text,
    Uint,
    Uuid,
)
from idl.model import AccountRef
from idl.types import (
    INTEGERS,
    Array,
    Counted,
    Enum,
    Map,
    NamedType,
    Primitive,
    Struct,
    Tuple,
    Type,
    is_bytes,
    uncounted,
)

Part = Type | AccountRef


def field_for_idl(part: Part, *, param: str) -> Field:
    """The field that holds any value of a type, or any account of an instruction."""
    if isinstance(part, AccountRef):
        is_plain = not part.optional and not part.remaining
        return Pubkey(param=param) if is_plain else Json(param=param)
    part = uncounted(part)
    if isinstance(part, Primitive) and part.name in INTEGERS:
        signed, size = INTEGERS[part.name]
        return (Int if signed else Uint)(8 * size, param=param)
    if is_bytes(part):
        if isinstance(part, Array) and 1 <= part.size <= 32:
            return FixedBytes(part.size, param=param)
        return Blob(param=param)
    if isinstance(part, Enum) and part.bare:
        return Text(param=param)
    plain: dict[str, type[Field]] = {"bool": Bool, "string": Text, "pubkey": Pubkey}
    if isinstance(part, Primitive) and part.name in plain:
        return plain[part.name](param=param)
    return Json(param=param)


def holds(item: Field, part: Part) -> bool:
    """Whether a field holds every value of a type, or every account of an instruction.

    An integer may be wider than the type; everything else must be the same.
    """
    exact = field_for_idl(part, param="")
    if isinstance(item, Uint | Int) and isinstance(exact, Uint | Int):
        return type(item) is type(exact) and item.bits >= exact.bits
    if isinstance(item, FixedBytes) and isinstance(exact, FixedBytes):
        return item.size == exact.size
    return type(item) is type(exact) and not isinstance(item, Uuid)


def spelled(part: Part) -> str:
    """A type as messages and signatures give it, with all that it is made of.

    `u64`, `[u8; 32]`, `vec<u8>`, `{fee: u64, to: pubkey}`, `Free | Paid(u64)`.
    """
    if isinstance(part, AccountRef):
        if part.remaining:
            return "remaining accounts"
        return "optional account" if part.optional else "account"
    if isinstance(part, Primitive):
        return part.name
    if isinstance(part, Array):
        return f"[{spelled(part.item)}; {part.size}]"
    if isinstance(part, Counted):
        length = f"u{8 * part.size}" if part.size else "no"
        return f"{spelled(part.item)} of {length} length"
    if isinstance(part, Struct):
        fields = ", ".join(f"{each.name}: {spelled(each.type)}" for each in part.fields)
        return f"{{{fields}}}"
    if isinstance(part, Tuple):
        return f"({', '.join(map(spelled, part.items))})"
    if isinstance(part, Enum):
        cases = ((v.name, spelled(v.type) if v.type else "") for v in part.variants)
        return " | ".join(name + body for name, body in cases)
    if isinstance(part, NamedType):
        return part.name
    if isinstance(part, Map):
        return f"map<{spelled(part.key)}, {spelled(part.value)}>"
    return f"{type(part).__name__.lower()}<{spelled(part.item)}>"
