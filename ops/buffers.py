"""Buffers of the upgradeable loader that a key has made, and their lamports back.

A deployment that was given up, or was stopped and then done with other bytes, leaves a
buffer behind. Source of the formats: solana-loader-v3-interface.
"""

import struct
from collections.abc import Sequence

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from ops.cluster import Cluster, Prepared
from ops.deploying import LOADER

_TAG = b"\1\0\0\0\1"  # a buffer, and that it has an authority, which comes next
CLOSED_AT_ONCE = 20


def find_buffers(cluster: Cluster) -> list[tuple[Pubkey, int]]:
    """Return the buffers that the payer's key may write, and their lamports."""
    return cluster.owned(LOADER, _TAG + bytes(cluster.key))


def close_buffers(cluster: Cluster, buffers: Sequence[Pubkey]) -> int:
    """Close buffers and return how many were; their lamports go to the payer.

    Raises Failed when one cannot be closed.
    """
    closed = 0
    for start in range(0, len(buffers), CLOSED_AT_ONCE):
        part = buffers[start : start + CLOSED_AT_ONCE]
        landed = cluster.run_all([_close(cluster.key, each) for each in part])
        closed += sum(each is not None for each in landed)
    return closed


def _close(key: Pubkey, buffer: Pubkey) -> Prepared:
    """Loader instruction 5: what is closed, who gets its lamports, who may."""
    accounts = [
        AccountMeta(buffer, is_signer=False, is_writable=True),
        AccountMeta(key, is_signer=False, is_writable=True),
        AccountMeta(key, is_signer=True, is_writable=False),
    ]
    return Prepared([Instruction(LOADER, struct.pack("<I", 5), accounts)])
