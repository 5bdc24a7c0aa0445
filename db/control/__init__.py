"""Bookkeeping tables, in schema `control`; `db/migrations` creates them.

One module for each part of the product that keeps books: import a table from here.
"""

from db.control.base import metadata
from db.control.commands import attempt, command, command_event, signer, slot
from db.control.indexing import (
    block,
    child,
    coverage,
    declaration,
    endpoint_limit,
    follower,
    incident,
    lease,
    sender_transaction,
    source,
    undecodable_log,
)

__all__ = [
    "attempt",
    "block",
    "child",
    "command",
    "command_event",
    "coverage",
    "declaration",
    "endpoint_limit",
    "follower",
    "incident",
    "lease",
    "metadata",
    "sender_transaction",
    "signer",
    "slot",
    "source",
    "undecodable_log",
]
