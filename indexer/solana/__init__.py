"""Solana programs followed by the signatures that name them."""
