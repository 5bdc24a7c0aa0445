-- The nonce after the last that a slot or the chain tells of; NULL: none is known.
CREATE OR REPLACE FUNCTION control.known_nonce(of_signer text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT greatest(
        (SELECT max(t.nonce) + 1 FROM control.sender_transaction t
            WHERE t.source = g.source AND t.sender = g.address),
        (SELECT max(s.nonce) + 1 FROM control.slot s WHERE s.signer = g.name),
        (SELECT 0 FROM control.coverage c
            WHERE c.source = g.source AND c.event = 'chain.transactions'
                AND c.filter = '0x' || encode(g.address, 'hex')
                AND lower(c.blocks) = 0)
    ) FROM control.signer g WHERE g.name = of_signer
$$
