"""Python's recursion limit, as it is without the libraries that raise it.

`py_ecc`, which `eth_account` and `web3` import, sets it to 100,000 when it is imported
first. The stack of a thread ends long before: what nests deeply would then end the
process instead of raising RecursionError. Importing this module has that import done,
once, and puts the limit back.
"""

import sys

import py_ecc  # noqa: F401 - for what it does to the limit

RECURSION_LIMIT = 1000

sys.setrecursionlimit(RECURSION_LIMIT)
