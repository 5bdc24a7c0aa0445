"""The journal: facts that are not public."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = """
CREATE TABLE control.journal_entry (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    tenant text NOT NULL,
    address text NOT NULL,
    agent text NOT NULL,
    signature bytea,
    body jsonb NOT NULL,
    subject text,
    personal bytea,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    CHECK ((subject IS NULL) = (personal IS NULL))
);
CREATE INDEX journal_entry_by_subject ON control.journal_entry (subject, seq)
    WHERE subject IS NOT NULL;
CREATE INDEX journal_entry_by_actor ON control.journal_entry (actor, seq);
CREATE INDEX journal_entry_by_kind ON control.journal_entry (kind, seq);
CREATE INDEX journal_entry_by_time ON control.journal_entry (at);
CREATE TABLE control.journal_head (
    source smallint PRIMARY KEY REFERENCES control.source (id),
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    at timestamptz NOT NULL,
    declared text NOT NULL DEFAULT ''
);
CREATE TABLE control.subject_key (
    subject text PRIMARY KEY,
    key bytea,
    made_at timestamptz NOT NULL,
    erased_at timestamptz,
    CHECK ((key IS NULL) = (erased_at IS NOT NULL))
);
"""

# Whoever may write tables may also drop the trigger; what they cannot do is change an
# entry by mistake, or without `verify` and the anchored roots telling of it.
_REFUSE = """
CREATE FUNCTION control.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'control.% is never changed: append an entry that corrects it',
        TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""
_GUARD = """
CREATE TRIGGER journal_entry_is_never_changed
    BEFORE UPDATE OR DELETE OR TRUNCATE ON control.journal_entry
    FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_change()
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)
    op.execute(_REFUSE)
    op.execute(_GUARD)
