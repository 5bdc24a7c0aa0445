"""Tables of the write side: signers, commands, nonces, attempts, history."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
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

# A key that signs, by name. Nonces below `first_nonce` are not ours; `next_nonce` moves
# only in the transaction that makes a slot; nothing is signed before `gate_height` is
# indexed. Below `checked_nonce` every transaction of the chain is accounted for.
# `paused` halts the signer until a person lets it go on, for `reason`; `hold` is what
# keeps it from new nonces for now, and goes away with its cause.
signer = Table(
    "signer",
    metadata,
    Column("name", Text, primary_key=True),
    Column("source", SmallInteger, ForeignKey("control.source.id"), nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("first_nonce", BigInteger, nullable=False),
    Column("next_nonce", BigInteger, nullable=False),
    Column("gate_height", BigInteger, nullable=False),
    Column("paused", Boolean, nullable=False, server_default="false"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("max_in_flight", Integer, nullable=False),
    Column("checked_nonce", BigInteger, nullable=False, server_default="0"),
    Column("hold", Text, nullable=False, server_default=""),
    Column("hold_reason", Text, nullable=False, server_default=""),
    UniqueConstraint("source", "address"),
)

# What somebody asked for, once; `next_action_at` is when the sweeper looks at it. A
# `signer` of ours sends it, or the wallet `sender`, whose transactions are read from
# the block `seen_from` on; one without either is recorded in the journal alone.
# `late_outcome` is what became of a call that its wallet sent after the command's end.
command = Table(
    "command",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("source", SmallInteger, ForeignKey("control.source.id"), nullable=False),
    Column("signer", Text, ForeignKey("control.signer.name")),
    Column("target", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("value", Numeric(78, 0), nullable=False, server_default="0"),
    Column("gas_limit", BigInteger, nullable=False),
    Column("valid_until", DateTime(timezone=True)),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("next_action_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("transaction", LargeBinary),
    Column("height", BigInteger),
    Column("sender", LargeBinary),
    Column("seen_from", BigInteger, nullable=False, server_default="0"),
    Column("asked_by", Text, nullable=False, server_default=""),
    Column("cause", Text, nullable=False, server_default=""),
    Column("late_outcome", Text, nullable=False, server_default=""),
    UniqueConstraint("tenant", "idempotency_key"),
)
Index(
    "command_due",
    command.c.next_action_at,
    postgresql_where=command.c.next_action_at.is_not(None),
)
Index(
    "command_waiting",
    command.c.signer,
    command.c.id,
    postgresql_where=command.c.state == "accepted",
)
Index(
    "command_of_wallet",
    command.c.source,
    command.c.sender,
    postgresql_where=command.c.sender.is_not(None)
    & command.c.next_action_at.is_not(None),
)
Index(
    "command_of_account",
    command.c.tenant,
    postgresql_where=command.c.sender.is_not(None)
    & command.c.next_action_at.is_not(None),
)
Index(
    "command_late_outcome", command.c.id, postgresql_where=command.c.late_outcome != ""
)
Index("command_by_tenant", command.c.tenant, command.c.id)
Index("command_by_state", command.c.state, command.c.kind, command.c.id)
Index(
    "command_held",
    command.c.signer,
    command.c.next_action_at,
    postgresql_where=command.c.state == "held",
)

# A nonce of a signer, and the command it was taken for; None: only to fill a gap.
# `next_action_at` is when it is looked at again; `hash` and `height` are of the
# transaction that resolved it.
slot = Table(
    "slot",
    metadata,
    Column("signer", Text, ForeignKey("control.signer.name"), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("command", Uuid, ForeignKey("control.command.id")),
    Column("open", Boolean, nullable=False, server_default="true"),
    Column("closing", Text, nullable=False, server_default=""),
    Column("resolution", Text, nullable=False, server_default=""),
    Column("taken_at", DateTime(timezone=True), nullable=False),
    Column("next_action_at", DateTime(timezone=True), nullable=False),
    Column("hash", LargeBinary),
    Column("height", BigInteger),
    PrimaryKeyConstraint("signer", "nonce"),
)

Index(
    "slot_one_open_for_a_command",
    slot.c.command,
    unique=True,
    postgresql_where=slot.c.open & slot.c.command.is_not(None),
)
Index("slot_open", slot.c.signer, slot.c.nonce, postgresql_where=slot.c.open)

# Signed bytes for a slot, stored before they leave. `gas_price` is the most that a unit
# of gas may cost; `priority_fee` only with EIP-1559. `node_hash` is the hash that the
# node answered, where it is another than ours. `reach` is the last block that the index
# had of the signer when it was signed; `refusals` counts those of nodes in a row.
attempt = Table(
    "attempt",
    metadata,
    Column("signer", Text, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("gas_price", Numeric(78, 0), nullable=False),
    Column("priority_fee", Numeric(78, 0)),
    Column("node_hash", LargeBinary),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    Column("sent_count", Integer, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True)),
    Column("answer", Text, nullable=False, server_default=""),
    Column("reach", BigInteger),
    Column("refusals", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("signer", "nonce", "number"),
    ForeignKeyConstraint(
        ["signer", "nonce"], ["control.slot.signer", "control.slot.nonce"]
    ),
)

# What happened to a command, in order; never updated.
command_event = Table(
    "command_event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("command", Uuid, ForeignKey("control.command.id"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("details", JSONB, nullable=False),
)
Index("command_event_by_command", command_event.c.command, command_event.c.id)
