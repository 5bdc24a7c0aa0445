-- The entries of the journal, one JSON object a line, as `verify.mjs` reads them.
SELECT json_build_object(
    'actor', actor, 'address', address, 'agent', agent,
    'at', (extract(epoch FROM at) * 1000000)::bigint, 'body', body, 'kind', kind,
    'personal', encode(sha256(personal), 'hex'), 'previous', encode(previous, 'hex'),
    'seq', seq, 'signature', encode(signature, 'hex'), 'subject', subject,
    'tenant', tenant, 'hash', encode(hash, 'hex'))::text
FROM control.journal_entry ORDER BY seq
