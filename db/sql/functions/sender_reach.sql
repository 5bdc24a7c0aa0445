-- The last block up to which a sender's transactions are read without a gap.
CREATE OR REPLACE FUNCTION control.sender_reach(of_source smallint, sender bytea)
RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT upper((SELECT r FROM unnest(c.blocks) r ORDER BY r LIMIT 1)) - 1
    FROM control.coverage c
    WHERE c.source = of_source AND c.event = 'chain.transactions'
        AND c.filter = '0x' || encode(sender, 'hex')
$$
