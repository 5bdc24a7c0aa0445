"""Solana clusters: their sources and their checks, as the settings describe them."""

from ops.chains.solana.balances import keep_comparing
from ops.chains.solana.checks import address_checks, endpoint_checks, head_of
from ops.chains.solana.commanding import check_signer, open_lane, open_worker
from ops.chains.solana.source import (
    begin,
    keep_listening,
    open_source,
    ordinals,
    range_blocks,
)

__all__ = [
    "address_checks",
    "begin",
    "check_signer",
    "endpoint_checks",
    "head_of",
    "keep_comparing",
    "keep_listening",
    "open_lane",
    "open_source",
    "open_worker",
    "ordinals",
    "range_blocks",
]  # fmt: skip
