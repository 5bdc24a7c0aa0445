-- The hash of a block as its chain writes it; `chain_id` is the chain's in CAIP-2.
CREATE OR REPLACE FUNCTION control.chain_hash(chain_id text, hash bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN chain_id LIKE 'solana:%' THEN control.base58(hash)
        ELSE '0x' || encode(hash, 'hex') END
$$
