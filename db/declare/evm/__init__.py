"""EVM contracts: their ABIs, and what the vocabulary takes from them."""

from db.declare.evm.contract import Contract

__all__ = ["Contract"]
