"""Transactions that were signed for commands on Solana, and what became of them."""
