"""Anchoring: hashes of what is kept elsewhere, on a chain, for all to compare."""
