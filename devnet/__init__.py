"""The development chain: a local node, our contracts on it, and business to watch."""

from db import recursion as recursion  # its libraries raise the limit
