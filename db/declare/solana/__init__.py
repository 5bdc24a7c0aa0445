"""Solana programs: their IDLs, and what the vocabulary takes from them."""

from db.declare.solana.accounts import ITEM, SIGNER, Ata, Each, Named
from db.declare.solana.call import Invoke
from db.declare.solana.fees import FeePaid, Fees
from db.declare.solana.program import Program
from db.declare.solana.tokens import TokenMoved, Tokens

__all__ = [
    "ITEM", "SIGNER", "Ata", "Each", "FeePaid", "Fees", "Invoke", "Named", "Program",
    "TokenMoved", "Tokens",
]  # fmt: skip
