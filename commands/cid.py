"""The IPFS name of a file: what `ipfs add --cid-version=1` would call it.

A file of one chunk (256 KiB) is a raw block. A longer one is a balanced tree of UnixFS
nodes in dag-pb with up to 174 links each over raw chunks. Nothing is sent anywhere.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHUNK = 262_144
LINKS = 174
_RAW, _DAG_PB = 0x55, 0x70


@dataclass(frozen=True, slots=True)
class _Node:
    """A block of the tree: its CID, what it holds of the file, and what it weighs."""

    cid: bytes
    file_bytes: int
    total_bytes: int


def cid_of(content: bytes, *, chunk: int = CHUNK, raw_leaves: bool = True) -> str:
    """The CID, version 1, in base 32."""
    nodes = [_leaf(part, raw=raw_leaves) for part in _parts(content, chunk)]
    while len(nodes) > 1:
        nodes = [_parent(nodes[at : at + LINKS]) for at in range(0, len(nodes), LINKS)]
    return "b" + base64.b32encode(nodes[0].cid).decode().lower().rstrip("=")


def _parts(content: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, max(len(content), 1), size):
        yield content[at : at + size]


def _leaf(part: bytes, *, raw: bool) -> _Node:
    if raw:
        return _Node(_cid(_RAW, part), len(part), len(part))
    file = _number(1, 2) + _bytes(2, part) + _number(3, len(part))
    return _block(_bytes(1, file), len(part), 0)


def _parent(children: Sequence[_Node]) -> _Node:
    size = sum(child.file_bytes for child in children)
    links = b"".join(
        _bytes(2, _bytes(1, c.cid) + _bytes(2, b"") + _number(3, c.total_bytes))
        for c in children
    )
    file = _number(1, 2) + _number(3, size)
    file += b"".join(_number(4, child.file_bytes) for child in children)
    return _block(links + _bytes(1, file), size, sum(c.total_bytes for c in children))


def _block(content: bytes, file_bytes: int, below: int) -> _Node:
    return _Node(_cid(_DAG_PB, content), file_bytes, len(content) + below)


def _cid(codec: int, content: bytes) -> bytes:
    return bytes([1, codec, 0x12, 32]) + hashlib.sha256(content).digest()


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
