"""Listings of signatures, by which Solana programs are followed."""
