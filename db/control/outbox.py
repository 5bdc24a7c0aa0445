"""Tables of what reactions ask for, and of what wallets signed themselves."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.control.base import metadata

# Bytes that a wallet signed for a command, stored before they are handed on. Without
# bytes: the wallet sent it by itself, and its nonce is remembered should the block go.
relay = Table(
    "relay",
    metadata,
    Column("hash", LargeBinary, nullable=False),
    Column("command", Uuid, ForeignKey("control.command.id"), nullable=False),
    Column("nonce", Numeric(78, 0), nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("relayed_at", DateTime(timezone=True), nullable=False),
    Column("sent_count", Integer, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True)),
    Column("answer", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("hash", "command"),
)
Index("relay_by_command", relay.c.command)

# Wallets whose commands ended without success: their transactions are read on for a
# while, from the lowest block that any of those waited from.
wallet_watch = Table(
    "wallet_watch",
    metadata,
    Column("source", SmallInteger, ForeignKey("control.source.id"), nullable=False),
    Column("sender", LargeBinary, nullable=False),
    Column("seen_from", BigInteger, nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("source", "sender"),
)
Index("wallet_watch_by_end", wallet_watch.c.source, wallet_watch.c.ended_at)

# How far each reaction has run: the position of the last fact it was given.
reaction = Table(
    "reaction",
    metadata,
    Column("source", SmallInteger, ForeignKey("control.source.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("source", "name"),
)

# What reactions ask for, once for each key; `next_action_at` None: answered, by a
# command or by a refusal.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", SmallInteger, ForeignKey("control.source.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("cause", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("next_action_at", DateTime(timezone=True)),
    Column("command", Uuid, ForeignKey("control.command.id")),
    Column("refusal", Text, nullable=False, server_default=""),
    Column("withdrawn_because", Text, nullable=False, server_default=""),
    UniqueConstraint("source", "key"),
)
Index(
    "outbox_due",
    outbox.c.next_action_at,
    postgresql_where=outbox.c.next_action_at.is_not(None),
)
