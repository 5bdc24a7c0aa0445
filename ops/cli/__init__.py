"""The `chainfold` command; one module for each group of verbs.

Exit codes: 0 done and well, 1 something is not well (differences found, a chain is
stopped, a port is taken), 2 the command could not be done; the message says why and
what to do.
"""

from ops.cli.main import main

__all__ = ["main"]
