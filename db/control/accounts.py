"""Tables of accounts: who may sign in, by what, and as what.

No secret is stored: passwords as argon2id, tokens and keys as the SHA-256 of 256 random
bits, which nobody can guess back.
"""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
)

from db.control.base import metadata

# Somebody, or something, that may sign in. `login` is an e-mail address, a name, or the
# wallet that the account began with; without `password_hash` no password opens it.
account = Table(
    "account",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("login", Text, nullable=False),
    Column("password_hash", Text),
    Column("roles", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("disabled_at", DateTime(timezone=True)),
)
Index("account_by_login", func.lower(account.c.login), unique=True)

# An address whose owner has shown, by a signature, to be the account.
wallet = Table(
    "wallet",
    metadata,
    Column("kind", Text, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("account", Uuid, ForeignKey("control.account.id"), nullable=False),
    Column("linked_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("kind", "address"),
    CheckConstraint("kind IN ('evm', 'solana')"),
)
Index("wallet_by_account", wallet.c.account)

# A sign-in and everything that came of it: the family of its refresh tokens.
session = Table(
    "session",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account", Uuid, ForeignKey("control.account.id"), nullable=False),
    Column("method", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Column("reason", Text, nullable=False, server_default=""),
)
Index("session_by_account", session.c.account)

# One refresh token; the one that is not rotated is the one to use.
refresh_token = Table(
    "refresh_token",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column(
        "session",
        Uuid,
        ForeignKey("control.session.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("rotated_at", DateTime(timezone=True)),
)
Index("refresh_token_by_session", refresh_token.c.session)

# Given out to be signed; deleted when it is used, so it is used once. One given to an
# account links a wallet to it, one given to nobody signs in.
sign_in_nonce = Table(
    "sign_in_nonce",
    metadata,
    Column("nonce", Text, primary_key=True),
    Column("account", Uuid, ForeignKey("control.account.id")),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
Index("sign_in_nonce_by_expiry", sign_in_nonce.c.expires_at)

# Failed sign-ins since `since`, by who tried: this bounds guessing without Redis.
sign_in_attempt = Table(
    "sign_in_attempt",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("failures", Integer, nullable=False),
)
Index("sign_in_attempt_by_time", sign_in_attempt.c.since)

# A key for programs. `prefix` is what people see of it; `scopes` are roles, or `read`.
api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account", Uuid, ForeignKey("control.account.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
)
Index("api_key_by_account", api_key.c.account)
