"""Tables of the read side: chains, what is read of them, what went wrong."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, INT8RANGE, JSONB

from db.control.base import metadata


def _source_column() -> Column[Any]:
    return Column("source", SmallInteger, nullable=False)


# One chain followed. `ordinals` says how facts are numbered inside a block, which can
# never change for a chain that has facts. `state` and `cause` are what `status` shows,
# `trouble` is what kind of cause it is (`db.diagnosis`), `told_at` when its follower
# last said how it goes.
source = Table(
    "source",
    metadata,
    Column("id", SmallInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("chain_id", Text, nullable=False, unique=True),
    Column("ordinals", Text, nullable=False),
    Column("genesis", LargeBinary),
    Column("head", BigInteger),
    Column("head_time", BigInteger),
    Column("final", BigInteger, nullable=False, server_default="-1"),
    Column("state", Text, nullable=False, server_default="new"),
    Column("cause", Text, nullable=False, server_default=""),
    Column("polled_at", DateTime(timezone=True)),
    # What the chain has shown of its nodes' ways, by name (`indexer.evm.traits`).
    Column("traits", JSONB, nullable=False, server_default="{}"),
    Column("trouble", Text, nullable=False, server_default=""),
    Column("state_since", DateTime(timezone=True)),
    Column("told_at", DateTime(timezone=True)),
)

# Which blocks have been written, for each event and each filter it is read through
# (a contract's address, or the event field that announces it).
coverage = Table(
    "coverage",
    metadata,
    _source_column(),
    Column("event", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("blocks", INT8MULTIRANGE, nullable=False),
    PrimaryKeyConstraint("source", "event", "filter"),
)

# Blocks that were written, for fork detection and to give facts their time.
block = Table(
    "block",
    metadata,
    _source_column(),
    Column("height", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("parent_hash", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
    PrimaryKeyConstraint("source", "height"),
)

# What is proved of blocks, for each level above the lowest (`db.proofs`).
proof = Table(
    "proof",
    metadata,
    _source_column(),
    Column("level", Text, nullable=False),
    Column("blocks", INT8MULTIRANGE, nullable=False),
    PrimaryKeyConstraint("source", "level"),
    CheckConstraint("level IN ('hash', 'seals', 'bloom', 'receipts')"),
)

# The validators that were due after a block, as followed from an anchor, with the
# votes that were open: where the check of seals goes on.
validator_set = Table(
    "validator_set",
    metadata,
    _source_column(),
    Column("height", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("state", JSONB, nullable=False),
    PrimaryKeyConstraint("source", "height"),
)

# Contracts made by factories, known before the ranges that need them are read.
child = Table(
    "child",
    metadata,
    _source_column(),
    Column("contract", Text, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("height", BigInteger, nullable=False),
    PrimaryKeyConstraint("source", "contract", "address"),
)

# Ranges being backfilled; an exclusion constraint keeps them apart.
lease = Table(
    "lease",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _source_column(),
    Column("blocks", INT8RANGE, nullable=False),
    Column("owner", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("process", Text, nullable=False, server_default=""),
)

# The one process that follows a chain; `token` fences off one that lost its lease.
follower = Table(
    "follower",
    metadata,
    Column("source", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("process", Text, nullable=False, server_default=""),
)

# What the tables were built from: kind is `event` or `projection`.
declaration = Table(
    "declaration",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("relation", Text, nullable=False),
    Column("built_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("kind", "name"),
    UniqueConstraint("kind", "relation"),
)

# The SQL functions that were loaded, with the digests of their files.
function = Table(
    "function",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False),
)

# Logs of followed contracts that are not what their ABI says. `kept`: the log is among
# the facts all the same, with values that were mended; here are its raw bytes.
undecodable_log = Table(
    "undecodable_log",
    metadata,
    _source_column(),
    Column("position", BigInteger, nullable=False),
    Column("emitter", LargeBinary, nullable=False),
    Column("transaction", LargeBinary, nullable=False),
    Column("topics", ARRAY(LargeBinary), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("event", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("kept", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("source", "position"),
)

# Transactions of watched senders, by which commands are resolved. `processed`: whether
# a final one that carries a command's id was compared with that command.
sender_transaction = Table(
    "sender_transaction",
    metadata,
    _source_column(),
    Column("position", BigInteger, nullable=False),
    Column("block_time", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("sender", LargeBinary, nullable=False),
    Column("recipient", LargeBinary),
    Column("nonce", Numeric(78, 0), nullable=False),
    Column("value", Numeric(78, 0), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Column("gas_used", BigInteger, nullable=False),
    Column("revert_data", LargeBinary),
    Column("processed", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("source", "position"),
    Index("sender_transaction_by_hash", "hash"),
    Index("sender_transaction_by_nonce", "source", "sender", "nonce"),
    # Next to nothing is in it: what ends with the marker of `db.commands.evm.tags`.
    Index(
        "sender_transaction_unprocessed",
        "source",
        "position",
        postgresql_where=text(
            "NOT processed"
            " AND right(encode(data, 'hex'), 32) = 'c4a1f01d80218021c4a1f01d80218021'"
        ),
    ),
)

# What an endpoint refused once and need not be asked again.
endpoint_limit = Table(
    "endpoint_limit",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("limits", JSONB, nullable=False),
)

# Why a chain was stopped, for people; never deleted by Chainfold.
incident = Table(
    "incident",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _source_column(),
    Column("kind", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolved_by", Text),
    Column("resolution", Text),
)
