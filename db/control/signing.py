"""Tables of the signing side: what was signed, what it may cost, and who is stopped."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from db.control.base import metadata

# What was signed for each nonce of an account: at most one call and one transfer of
# nothing to itself, which the primary key sees to. A higher fee is the same signature.
signed = Table(
    "signed",
    metadata,
    Column("chain", BigInteger, nullable=False, autoincrement=False),
    Column("address", LargeBinary, nullable=False),
    Column("nonce", BigInteger, nullable=False, autoincrement=False),
    Column("is_self_transfer", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("value", Numeric(78, 0), nullable=False),
    Column("gas_cost", Numeric(78, 0), nullable=False),
    Column("times", Integer, nullable=False, server_default="1"),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("chain", "address", "nonce", "is_self_transfer"),
)

# What an account was allowed on each day (UTC): the value sent, and the most that gas
# may cost, in wei.
signing_day = Table(
    "signing_day",
    metadata,
    Column("chain", BigInteger, nullable=False, autoincrement=False),
    Column("address", LargeBinary, nullable=False),
    Column("day", Date, nullable=False),
    Column("value", Numeric(78, 0), nullable=False, server_default="0"),
    Column("gas_cost", Numeric(78, 0), nullable=False, server_default="0"),
    PrimaryKeyConstraint("chain", "address", "day"),
)

# From which nonce on a person has an account go on, where nothing else tells how many
# it has used.
signing_from = Table(
    "signing_from",
    metadata,
    Column("chain", BigInteger, nullable=False, autoincrement=False),
    Column("address", LargeBinary, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    PrimaryKeyConstraint("chain", "address"),
)

# What was signed on chains without nonces, for each intent: a digest of what somebody
# asked for. `last_valid` is the block height after which it can land no more, `slot`
# that from which on it can.
signed_intent = Table(
    "signed_intent",
    metadata,
    Column("chain", Text, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("intent", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("last_valid", BigInteger, nullable=False),
    Column("signed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("chain", "address", "intent", "signature"),
)

# What an account was allowed on each day (UTC) there, by asset: the mint of a token, or
# nothing for lamports.
spent_day = Table(
    "spent_day",
    metadata,
    Column("chain", Text, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("day", Date, nullable=False),
    Column("asset", LargeBinary, nullable=False),
    Column("amount", Numeric(78, 0), nullable=False, server_default="0"),
    PrimaryKeyConstraint("chain", "address", "day", "asset"),
)

# The kill switch: a signer's name, or `*` for all; while the row is there, nothing is
# signed.
signing_stop = Table(
    "signing_stop",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("stopped_at", DateTime(timezone=True), nullable=False),
)
