"""Tables of chains that are read by lists of signatures."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
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

# A signed transaction for a command, stored before it leaves. It can land from `slot`
# on, and no more after the block height `last_valid`; `past_slot` is the first
# finalized slot that was seen beyond it. `state` is open, landed or dead. `fee` is in
# lamports; without `raw` only the signer's memory knew of it. Without a signer the
# command's wallet signed it; several accounts may have relayed one transaction.
solana_attempt = Table(
    "solana_attempt",
    metadata,
    Column("signature", LargeBinary, nullable=False),
    Column("command", Uuid, ForeignKey("control.command.id"), nullable=False),
    Column("signer", Text, ForeignKey("control.signer.name")),
    Column("number", Integer, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("last_valid", BigInteger, nullable=False),
    Column("fee", BigInteger, nullable=False),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    Column("sent_count", Integer, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True)),
    Column("answer", Text, nullable=False, server_default=""),
    Column("past_slot", BigInteger),
    Column("state", Text, nullable=False, server_default="open"),
    Column("next_action_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("signature", "command"),
    UniqueConstraint("command", "number"),
)
Index(
    "solana_attempt_open",
    solana_attempt.c.signer,
    solana_attempt.c.next_action_at,
    postgresql_where=solana_attempt.c.state == "open",
)

# When it was last asked what a wallet sent by itself, and up to which final slot all of
# that was looked at.
solana_wallet = Table(
    "solana_wallet",
    metadata,
    Column("source", SmallInteger, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("looked_at", DateTime(timezone=True), nullable=False),
    Column("examined", BigInteger, nullable=False, server_default="-1"),
    PrimaryKeyConstraint("source", "address"),
)
