"""Proofs of blocks, traits of chains, and validators."""

from alembic import op

revision = "0010"
down_revision = "0009"

_TABLES = """
CREATE TABLE control.proof (
    source smallint NOT NULL,
    level text NOT NULL CHECK (level IN ('hash', 'seals', 'bloom', 'receipts')),
    blocks int8multirange NOT NULL,
    PRIMARY KEY (source, level)
);
ALTER TABLE control.source ADD COLUMN traits jsonb NOT NULL DEFAULT '{}';
CREATE TABLE control.validator_set (
    source smallint NOT NULL,
    height bigint NOT NULL,
    hash bytea NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (source, height)
)
"""

# Without `of_filters` and `from_blocks` the streams are those that have coverage.
_KNOWN = """
                SELECT lower(c.blocks) AS start, c.blocks
                FROM control.coverage c
                WHERE c.source = of_source AND c.event = ANY(counted)
"""
_PLANNED = """
                SELECT s.start, coalesce(c.blocks, '{}') AS blocks
                FROM unnest(counted, of_filters, from_blocks) AS s(event, filter, start)
                LEFT JOIN control.coverage c ON c.source = of_source
                    AND c.event = s.event AND c.filter = s.filter
"""
# A stream that was rewound to before its first block has no lowest block; `start` is
# NULL then, which no minimum may hide.
_MARK = """
        SELECT s.name, reach.height, b.hash, b.time,
            coalesce(at_height, reach.height) <= s.final,
            coalesce(written.height <= reach.height, true),
            coalesce((SELECT d.fingerprint || ' ' || d.built_at
                FROM control.declaration d
                WHERE d.kind = 'projection' AND d.name = of_relation), ''),
            CASE WHEN s.name <> 'journal' THEN ARRAY(
                SELECT p.level FROM control.proof p
                WHERE p.source = s.id AND p.blocks @> int8range(
                    least(reach.start, coalesce(at_height, reach.height)),
                    coalesce(at_height, reach.height), '[]')
                ORDER BY p.level) END
        FROM control.source s
        CROSS JOIN (
            SELECT CASE WHEN bool_and(each.start IS NOT NULL)
                    AND min(last) >= min(each.start) THEN min(last) END AS height,
                min(each.start) AS start
            FROM (
                SELECT stream.start, lower(
                    int8multirange(int8range(stream.start, NULL)) - blocks
                ) - 1 AS last
                FROM ({streams}) AS stream
            ) AS each
        ) AS reach
        CROSS JOIN (
            SELECT max(upper(c.blocks)) - 1 AS height FROM control.coverage c
            WHERE c.source = of_source AND c.event = ANY(own)
        ) AS written
        LEFT JOIN control.block b
            ON b.source = s.id AND b.height = coalesce(at_height, reach.height)
        WHERE s.id = of_source
"""
_FUNCTION = f"""
CREATE FUNCTION control.mark(
    of_source integer, at_height bigint, own text[], counted text[],
    of_filters text[], from_blocks bigint[], of_relation text
) RETURNS TABLE (
    chain text, checkpoint bigint, block_hash bytea, block_time bigint, final boolean,
    exact boolean, built_at text, proof text[]
) LANGUAGE plpgsql STABLE ROWS 1 AS $$
BEGIN
    IF of_filters IS NULL THEN
        RETURN QUERY {_MARK.replace("{streams}", _KNOWN)};
    ELSE
        RETURN QUERY {_MARK.replace("{streams}", _PLANNED)};
    END IF;
END $$
"""


def upgrade() -> None:
    """Make the tables and the column; the function tells the proof too."""
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    op.execute(
        "DROP FUNCTION control.mark(integer, bigint, text[], text[], text[],"
        " bigint[], text)"
    )
    op.execute(_FUNCTION)
