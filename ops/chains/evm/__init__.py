"""EVM chains: their sources and their checks, as the settings describe them."""

from ops.chains.evm.checks import address_checks, endpoint_checks, head_of
from ops.chains.evm.client import evm_chain_number, evm_client
from ops.chains.evm.commanding import check_signer, open_lane, open_worker
from ops.chains.evm.source import (
    begin,
    keep_comparing,
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
    "evm_chain_number",
    "evm_client",
    "head_of",
    "keep_comparing",
    "keep_listening",
    "open_lane",
    "open_source",
    "open_worker",
    "ordinals",
    "range_blocks",
]  # fmt: skip
