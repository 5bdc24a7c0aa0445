-- The progress of some events of a chain, and the block at that height or as of another
-- (`db.reads.marks`): one call, which is planned once in a session.
--
-- Without `of_filters` and `from_blocks` the streams are those that have coverage. A
-- stream that was rewound to before its first block has no lowest block; `start` is NULL
-- then, which no minimum may hide.
CREATE OR REPLACE FUNCTION control.mark(
    of_source integer, at_height bigint, own text[], counted text[],
    of_filters text[], from_blocks bigint[], of_relation text
) RETURNS TABLE (
    chain text, checkpoint bigint, block_hash text, block_time bigint, final boolean,
    exact boolean, built_at text, proof text[]
) LANGUAGE plpgsql STABLE ROWS 1 AS $$
BEGIN
    RETURN QUERY
    SELECT s.name, reach.height, control.chain_hash(s.chain_id, b.hash), b.time,
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
            FROM (
                SELECT lower(c.blocks) AS start, c.blocks
                FROM control.coverage c
                WHERE of_filters IS NULL
                    AND c.source = of_source AND c.event = ANY(counted)
                UNION ALL
                SELECT p.start, coalesce(c.blocks, '{}')
                FROM unnest(counted, of_filters, from_blocks)
                    AS p(event, filter, start)
                LEFT JOIN control.coverage c ON c.source = of_source
                    AND c.event = p.event AND c.filter = p.filter
                WHERE of_filters IS NOT NULL
            ) AS stream
        ) AS each
    ) AS reach
    CROSS JOIN (
        SELECT max(upper(c.blocks)) - 1 AS height FROM control.coverage c
        WHERE c.source = of_source AND c.event = ANY(own)
    ) AS written
    LEFT JOIN control.block b
        ON b.source = s.id AND b.height = coalesce(at_height, reach.height)
    WHERE s.id = of_source;
END $$
