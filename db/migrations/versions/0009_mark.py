"""The progress of events in one call, which is planned once in a session."""

from alembic import op

revision = "0009"
down_revision = "0008"

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
                WHERE d.kind = 'projection' AND d.name = of_relation), '')
        FROM control.source s
        CROSS JOIN (
            SELECT CASE WHEN bool_and(start IS NOT NULL) AND min(last) >= min(start)
                THEN min(last) END AS height
            FROM (
                SELECT start,
                    lower(int8multirange(int8range(start, NULL)) - blocks) - 1 AS last
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
    exact boolean, built_at text
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
    """Make the function."""
    op.execute(_FUNCTION)
