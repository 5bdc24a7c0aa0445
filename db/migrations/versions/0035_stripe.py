"""Tables of reading Stripe: events, what was said, sessions (`db.control.stripe`)."""

from alembic import op

revision = "0035"
down_revision = "0034"

_TABLES = """
CREATE TABLE control.stripe_account (
    account text PRIMARY KEY,
    livemode boolean NOT NULL,
    cursor bigint NOT NULL DEFAULT 0,
    polled_at timestamptz,
    swept_at timestamptz,
    swept_added bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'new',
    cause text NOT NULL DEFAULT '',
    owner text NOT NULL DEFAULT '',
    token text NOT NULL DEFAULT '',
    process text NOT NULL DEFAULT '',
    seen_at timestamptz
);
CREATE TABLE control.stripe_event (
    id text PRIMARY KEY,
    account text NOT NULL,
    type text NOT NULL,
    created bigint NOT NULL,
    object text NOT NULL,
    outcome text NOT NULL,
    noted_at timestamptz NOT NULL
);
CREATE INDEX stripe_event_by_created ON control.stripe_event (account, created);
CREATE TABLE control.stripe_said (
    key text PRIMARY KEY,
    said_at timestamptz NOT NULL
);
CREATE TABLE control.stripe_waiting (
    kind text NOT NULL,
    object text NOT NULL,
    cause text NOT NULL,
    since timestamptz NOT NULL,
    next_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, object)
);
CREATE TABLE control.stripe_count (
    account text NOT NULL,
    outcome text NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (account, outcome)
);
CREATE TABLE control.stripe_webhook (
    event text PRIMARY KEY,
    received_at timestamptz NOT NULL,
    signed_at bigint NOT NULL,
    body bytea NOT NULL,
    fetched boolean NOT NULL DEFAULT false
);
CREATE INDEX stripe_webhook_waiting ON control.stripe_webhook (received_at)
    WHERE fetched IS false;
CREATE TABLE control.stripe_session (
    key text PRIMARY KEY,
    digest text NOT NULL,
    attempt integer NOT NULL DEFAULT 1,
    asked_at timestamptz NOT NULL,
    session text NOT NULL DEFAULT ''
);
CREATE TABLE control.stripe_reconciliation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    since bigint NOT NULL,
    until bigint NOT NULL,
    ran_at timestamptz NOT NULL,
    well boolean NOT NULL,
    found jsonb NOT NULL,
    cleared_at timestamptz,
    cleared_by text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT ''
)
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
