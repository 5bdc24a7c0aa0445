"""Types and signatures of ABIs, as topics and selectors are made from them."""

import re
from collections.abc import Mapping
from typing import Any

ALIASES = {"uint": "uint256", "int": "int256", "byte": "bytes1"}
"""Short names of types, which files written by hand have; signatures have the long."""


def long_type(kind: str) -> str:
    """A type, or an array of it, by its long name."""
    word, bracket, size = kind.partition("[")
    return ALIASES.get(word, word) + bracket + size


def canonical_type(item: Mapping[str, Any]) -> str:
    """The type of an ABI parameter as it enters signatures, tuples written out."""
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return long_type(kind)
    inner = ",".join(canonical_type(part) for part in item["components"])
    return f"({inner}){kind[5:]}"


def signature(abi: Mapping[str, Any]) -> str:
    """`Transfer(address,address,uint256)`."""
    return f"{abi['name']}({','.join(canonical_type(i) for i in abi['inputs'])})"


def identity(abi: Mapping[str, Any]) -> str:
    """`Transfer(address indexed,address indexed,uint256)`.

    The signature alone, which is what topic 0 is the hash of, does not tell how an
    event is written: `Transfer` of ERC-20 and of ERC-721 have the same.
    """
    kinds = [canonical_type(i) + " indexed" * bool(i["indexed"]) for i in abi["inputs"]]
    return f"{abi['name']}({','.join(kinds)})"


def is_announcement(part: Mapping[str, Any]) -> bool:
    """Whether a parameter can name contracts: an address, or a list of them.

    An indexed list is only on the chain as its hash.
    """
    kind = str(part["type"])
    listed = re.fullmatch(r"address\[\d*\]", kind) and not part["indexed"]
    return kind == "address" or bool(listed)


def names_of(abi: Mapping[str, Any]) -> tuple[str, str, str]:
    """The ways to call an event: its name, its signature, its identity."""
    return str(abi["name"]), signature(abi), identity(abi)
