"""The control tables, the stage machine, and the readers' role."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE control.source (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    chain_id text NOT NULL UNIQUE,
    ordinals text NOT NULL CHECK (ordinals IN ('rank', 'log_index')),
    genesis bytea,
    head bigint,
    head_time bigint,
    final bigint NOT NULL DEFAULT -1,
    state text NOT NULL DEFAULT 'new',
    cause text NOT NULL DEFAULT '',
    polled_at timestamptz
);
CREATE TABLE control.coverage (
    source smallint NOT NULL,
    event text NOT NULL,
    filter text NOT NULL,
    blocks int8multirange NOT NULL,
    PRIMARY KEY (source, event, filter)
);
CREATE TABLE control.block (
    source smallint NOT NULL,
    height bigint NOT NULL,
    hash bytea NOT NULL,
    parent_hash bytea NOT NULL,
    time bigint NOT NULL,
    PRIMARY KEY (source, height)
);
CREATE TABLE control.child (
    source smallint NOT NULL,
    contract text NOT NULL,
    address bytea NOT NULL,
    height bigint NOT NULL,
    PRIMARY KEY (source, contract, address)
);
CREATE TABLE control.lease (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source smallint NOT NULL,
    blocks int8range NOT NULL,
    owner text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT lease_apart EXCLUDE USING gist
        (int4range(source, source, '[]') WITH &&, blocks WITH &&)
);
CREATE TABLE control.follower (
    source smallint PRIMARY KEY,
    owner text NOT NULL,
    token text NOT NULL,
    since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
CREATE TABLE control.declaration (
    kind text NOT NULL CHECK (kind IN ('event', 'projection')),
    name text NOT NULL,
    fingerprint text NOT NULL,
    relation text NOT NULL,
    built_at timestamptz NOT NULL,
    PRIMARY KEY (kind, name),
    UNIQUE (kind, relation)
);
CREATE TABLE control.undecodable_log (
    source smallint NOT NULL,
    position bigint NOT NULL,
    emitter bytea NOT NULL,
    transaction bytea NOT NULL,
    topics bytea[] NOT NULL,
    data bytea NOT NULL,
    event text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (source, position)
);
CREATE TABLE control.sender_transaction (
    source smallint NOT NULL,
    position bigint NOT NULL,
    block_time bigint NOT NULL,
    hash bytea NOT NULL,
    sender bytea NOT NULL,
    recipient bytea,
    nonce numeric(78,0) NOT NULL,
    value numeric(78,0) NOT NULL,
    data bytea NOT NULL,
    succeeded boolean NOT NULL,
    gas_used bigint NOT NULL,
    revert_data bytea,
    PRIMARY KEY (source, position)
);
CREATE INDEX sender_transaction_by_hash ON control.sender_transaction (hash);
CREATE INDEX sender_transaction_by_nonce
    ON control.sender_transaction (source, sender, nonce);
CREATE TABLE control.endpoint_limit (
    endpoint text PRIMARY KEY,
    limits jsonb NOT NULL
);
CREATE TABLE control.incident (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source smallint NOT NULL,
    kind text NOT NULL,
    details jsonb NOT NULL,
    at timestamptz NOT NULL,
    resolved_at timestamptz
);
"""

# Roles belong to the whole server: another database may have made it, and a managed
# server may not allow it, in which case the operator grants reads as they see fit.
_READER = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chainfold_reader') THEN
        CREATE ROLE chainfold_reader NOLOGIN;
    END IF;
    GRANT USAGE ON SCHEMA public TO chainfold_reader;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public
        GRANT SELECT ON TABLES TO chainfold_reader;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
    RAISE NOTICE 'role chainfold_reader was not made: %', SQLERRM;
END $$
"""


def upgrade() -> None:
    """Make what every version of the declarations needs."""
    op.execute("CREATE SCHEMA IF NOT EXISTS facts")
    op.execute("CREATE SCHEMA IF NOT EXISTS state")
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
    op.execute(_READER)
