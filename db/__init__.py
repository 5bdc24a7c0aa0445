"""The tables of the product, and all of its SQL."""
