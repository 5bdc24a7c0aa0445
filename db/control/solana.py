"""Tables of chains that are read by lists of signatures."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE

from db.control.base import metadata

# The transactions that name an address, as endpoints listed them. `written`: what it
# did is in the database; `final`: it cannot be undone.
signature = Table(
    "signature",
    metadata,
    Column("source", SmallInteger, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("written", Boolean, nullable=False, server_default="false"),
    Column("final", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("source", "address", "slot", "signature"),
    Index("signature_open", "source", "slot", postgresql_where=text("NOT final")),
    Index(
        "signature_unwritten", "source", "slot", postgresql_where=text("NOT written")
    ),
)

# The slots that a listing of an address has crossed whole.
listing = Table(
    "listing",
    metadata,
    Column("source", SmallInteger, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("slots", INT8MULTIRANGE, nullable=False),
    PrimaryKeyConstraint("source", "address"),
)

# Transactions that named a followed program and changed nothing. No table folds them.
failed_transaction = Table(
    "failed_transaction",
    metadata,
    Column("source", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("block_time", BigInteger, nullable=False),
    Column("transaction", LargeBinary, nullable=False),
    Column("program", LargeBinary),
    Column("code", BigInteger),
    Column("error", Text, nullable=False),
    PrimaryKeyConstraint("source", "position"),
)
