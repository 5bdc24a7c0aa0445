"""One hash for a list of hashes, and the proof that one of them is in it.

The tree is that of RFC 6962, section 2.1, with SHA-256: a leaf is `H(0x00 ‖ content)`,
a node `H(0x01 ‖ left ‖ right)`, and of n leaves the left node has the largest power of
two below n. Leaves and nodes can therefore not be taken for each other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProofStep:
    """A sibling hash on the path to the root, and its side."""

    hash: bytes
    left: bool


def leaf(content: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + content).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of leaves; of none, the hash of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    level = list(leaves)
    # A node without a neighbour moves up as it is, which gives the same tree.
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) % 2 else []
        level = [_node(left, right) for left, right in pairs] + odd
    return level[0]


def proof(leaves: Sequence[bytes], index: int) -> list[ProofStep]:
    """The neighbours of a leaf from the bottom up; raises IndexError without it."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} of {len(leaves)}")
    steps = []
    level = list(leaves)
    while len(level) > 1:
        other = index ^ 1
        if other < len(level):
            steps.append(ProofStep(level[other], left=other < index))
        pairs = zip(level[::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) % 2 else []
        level = [_node(left, right) for left, right in pairs] + odd
        index //= 2
    return steps


def proves(content: bytes, steps: Sequence[ProofStep], expected: bytes) -> bool:
    """Whether the steps lead from a leaf with this content to the root expected."""
    found = leaf(content)
    for step in steps:
        found = _node(step.hash, found) if step.left else _node(found, step.hash)
    return found == expected


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
