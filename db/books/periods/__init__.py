"""Periods of the books that were closed."""
