"""The bloom of a block's logs: what its header says must be among them.

A header's `logsBloom` is 2048 bits; each address and topic of the block's logs sets
three of them, named by its keccak-256 (Yellow Paper, 4.3.1). Equality with the bloom of
the logs received catches logs that were dropped or added, unless the very same address
and topics are in the block twice. It says nothing about data.
"""

from collections.abc import Iterable
from functools import lru_cache

from eth_hash.auto import keccak

from indexer.evm.messages import RpcLog, quantity, unhex

EMPTY = "0x" + "0" * 512


@lru_cache(maxsize=1 << 16)
def bits_of(item: str) -> int:
    """The bits of one address or topic, given in hex, as a 2048-bit number."""
    digest = keccak(unhex(item))
    found = 0
    for at in (0, 2, 4):
        found |= 1 << (int.from_bytes(digest[at : at + 2]) & 2047)
    return found


def bloom_of(logs: Iterable[RpcLog]) -> int:
    """The bloom of some logs as a 2048-bit number."""
    items: set[str] = set()
    for log in logs:
        items.add(log.address)
        items.update(log.topics)
    found = 0
    for item in items:
        found |= bits_of(item)
    return found


def bloom_in(text: str) -> int:
    """A header's bloom as a number."""
    return quantity(text)
