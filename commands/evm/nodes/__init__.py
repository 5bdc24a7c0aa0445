"""The nodes that the write side asks and sends through.

`endpoint` talks to one of them, bounded in time, size and depth; `pool` to all of a
chain's; `answers` reads what they say.
"""
