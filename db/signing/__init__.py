"""The rows of the signing side: its memory, its budgets, its kill switch.

They may live in a database of their own, which a restored backup of the index does not
reach: then even a write side that forgot what it did cannot have two different calls
signed for one nonce.
"""
