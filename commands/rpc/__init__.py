"""Nodes that the write side asks and sends through, whatever their chain's kind.

`endpoint` talks to one of them, bounded in time, size and depth; `pool` to all of a
chain's.
"""
