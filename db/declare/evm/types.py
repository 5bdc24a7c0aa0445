"""Types of ABIs, and the fields that hold their values.

| ABI type            | field         |
|---------------------|---------------|
| address             | Address       |
| bytesN              | FixedBytes    |
| bytes32             | Bytes32       |
| bytes, function     | Blob          |
| uintN, intN         | Uint, Int     |
| bool                | Bool          |
| string              | Text          |
| arrays, tuples      | Json          |
| indexed dynamic     | Hash          |

An indexed value of a dynamic type is only on the chain as its keccak-256 hash
(Solidity ABI specification, "Encoding of Indexed Event Parameters"), hence `Hash`.
"""

import re

from db.declare.fields import (
    Address,
    Blob,
    Bool,
    Field,
    FixedBytes,
    Hash,
    Int,
    Json,
    Text,
    Uint,
    Uuid,
)


def is_reference_type(abi_type: str) -> bool:
    """Whether an indexed parameter of this type is stored as a hash."""
    return abi_type in ("string", "bytes") or is_composite(abi_type)


def is_composite(abi_type: str) -> bool:
    """Whether a type is an array or a tuple."""
    return abi_type.endswith("]") or abi_type.startswith("tuple")


def holds(item: Field, abi_type: str, *, indexed: bool) -> bool:
    """Whether a field holds every value of a parameter of an ABI type."""
    if isinstance(item, (Uint, Int)):
        match = re.fullmatch(r"(u?)int(\d+)", abi_type)
        if match is None:
            return False
        return bool(match[1]) == isinstance(item, Uint) and int(match[2]) <= item.bits
    if isinstance(item, FixedBytes):
        return abi_type == f"bytes{item.size}"
    if isinstance(item, Hash):
        return indexed and is_reference_type(abi_type)
    if isinstance(item, Json):
        return not indexed and is_composite(abi_type)
    if isinstance(item, Blob):
        return not indexed and abi_type in ("bytes", "function")
    if isinstance(item, Text):
        return not indexed and abi_type == "string" and not isinstance(item, Uuid)
    if isinstance(item, Address):
        return abi_type == "address"
    return isinstance(item, Bool) and abi_type == "bool"


def field_for_abi(abi_type: str, *, indexed: bool, param: str) -> Field:
    """The field that holds any value of an ABI type, for contracts without code.

    Raises ValueError for a type that is not known.
    """
    if indexed and is_reference_type(abi_type):
        return Hash(param=param)
    if is_composite(abi_type):
        return Json(param=param)
    if match := re.fullmatch(r"(u?)int(\d+)", abi_type):
        return (Uint if match[1] else Int)(int(match[2]), param=param)
    if match := re.fullmatch(r"bytes(\d+)", abi_type):
        return FixedBytes(int(match[1]), param=param)
    plain: dict[str, type[Field]] = {
        "address": Address, "bool": Bool, "string": Text, "bytes": Blob,
        "function": Blob,
    }  # fmt: skip
    if abi_type not in plain:
        raise ValueError(f"{param}: ABI type {abi_type!r} is not known")
    return plain[abi_type](param=param)
