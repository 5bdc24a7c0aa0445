"""Solana programs: their IDLs, and what the vocabulary takes from them."""

from db.declare.solana.program import Program

__all__ = ["Program"]
