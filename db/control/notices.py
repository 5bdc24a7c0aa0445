"""The table of notices: what is to be told to whom, and what became of it."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.control.base import metadata

# `recipient` is an account's id, a wallet in hex, or a channel's name: no address.
notice = Table(
    "notice",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("texts", JSONB, nullable=False),
    Column("cause", Text, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_action_at", DateTime(timezone=True)),
    Column("reason", Text, nullable=False, server_default=""),
    Column("sent_at", DateTime(timezone=True)),
)
Index(
    "notice_waiting",
    notice.c.next_action_at,
    postgresql_where=notice.c.next_action_at.is_not(None),
)
