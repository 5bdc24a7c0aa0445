"""Solana clusters: their sources and their checks, as the settings describe them."""

from ops.chains.solana.checks import address_checks, endpoint_checks, head_of
from ops.chains.solana.source import begin, open_source, ordinals, range_blocks

__all__ = [
    "address_checks", "begin", "endpoint_checks", "head_of", "open_source", "ordinals",
    "range_blocks",
]  # fmt: skip
