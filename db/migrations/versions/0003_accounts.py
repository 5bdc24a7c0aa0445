"""The accounts: who may sign in, and as what."""

from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = """
CREATE TABLE control.account (
    id uuid PRIMARY KEY,
    login text NOT NULL,
    password_hash text,
    roles text[] NOT NULL,
    created_at timestamptz NOT NULL,
    disabled_at timestamptz
);
CREATE UNIQUE INDEX account_by_login ON control.account (lower(login));
CREATE TABLE control.wallet (
    kind text NOT NULL CHECK (kind IN ('evm', 'solana')),
    address bytea NOT NULL,
    account uuid NOT NULL REFERENCES control.account (id),
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (kind, address)
);
CREATE INDEX wallet_by_account ON control.wallet (account);
CREATE TABLE control.session (
    id uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES control.account (id),
    method text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    reason text NOT NULL DEFAULT ''
);
CREATE INDEX session_by_account ON control.session (account);
CREATE TABLE control.refresh_token (
    digest bytea PRIMARY KEY,
    session uuid NOT NULL REFERENCES control.session (id) ON DELETE CASCADE,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    rotated_at timestamptz
);
CREATE INDEX refresh_token_by_session ON control.refresh_token (session);
CREATE TABLE control.sign_in_nonce (
    nonce text PRIMARY KEY,
    account uuid REFERENCES control.account (id),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sign_in_nonce_by_expiry ON control.sign_in_nonce (expires_at);
CREATE TABLE control.sign_in_attempt (
    subject bytea PRIMARY KEY,
    since timestamptz NOT NULL,
    failures integer NOT NULL
);
CREATE INDEX sign_in_attempt_by_time ON control.sign_in_attempt (since);
CREATE TABLE control.api_key (
    id uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES control.account (id),
    name text NOT NULL,
    prefix text NOT NULL UNIQUE,
    digest bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_key_by_account ON control.api_key (account);
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
