"""Hex, blooms and tries, by the libraries and not by the product's code."""

from collections.abc import Iterable, Sequence
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_hash.auto import keccak
from trie.hexary import HexaryTrie

EMPTY_LIST_HASH = keccak(rlp.encode([]))  # sha3Uncles of a block without uncles
EMPTY_ROOT = keccak(rlp.encode(b""))


def to_hex(value: bytes) -> str:
    """Bytes as `0x…`."""
    return "0x" + value.hex()


def root_of(entries: Sequence[bytes]) -> bytes:
    """The root of the trie from each entry's index to the entry."""
    if not entries:
        return EMPTY_ROOT
    trie = HexaryTrie({})
    for index, entry in enumerate(entries):
        trie[rlp.encode(index)] = entry
    root: bytes = trie.root_hash
    return root


def bloom_of(items: Iterable[bytes]) -> int:
    """The bloom of addresses and topics, as section 4.3.1 of the Yellow Paper says."""
    found = 0
    for item in set(items):
        digest = keccak(item)
        for at in (0, 2, 4):
            found |= 1 << (int.from_bytes(digest[at : at + 2]) % 2048)
    return found


def encode(item: Any) -> bytes:
    """The RLP of bytes, numbers and lists of them."""
    encoded: bytes = rlp.encode(item)
    return encoded
