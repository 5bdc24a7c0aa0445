"""The only door: HTTP reads of the indexed state."""

from db import recursion as recursion  # its libraries raise the limit
