"""EVM contracts: their ABIs, and what the vocabulary takes from them."""

from db.declare.evm.call import Call
from db.declare.evm.contract import Contract

__all__ = ["Call", "Contract"]
