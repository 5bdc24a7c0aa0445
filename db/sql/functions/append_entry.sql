-- Append an entry in one call, so that the journal's head is held for no round trip.
--
-- What is hashed is cut where only the head knows the value: `opening` time `middle`
-- hash before `joint` number `closing` (`db.journal.canonical`). `expected` names the
-- declarations that the caller knows; null: it compares them itself.
CREATE OR REPLACE FUNCTION control.append_entry(
    expected text, moment timestamptz, of_kind text, by_actor text, of_tenant text,
    from_address text, with_agent text, signed_with bytea, said jsonb, about text,
    sealed bytea, opening text, middle text, joint text, closing text,
    relation text, fact jsonb,
    OUT entry bigint, OUT entry_hash bytea, OUT said_at timestamptz, OUT declared text
) LANGUAGE plpgsql AS $$
DECLARE
    last control.journal_head;
    seconds bigint;
BEGIN
    SELECT * INTO last FROM control.journal_head FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the journal was not begun: run chainfold migrate';
    END IF;
    IF last.declared <> expected THEN
        RAISE EXCEPTION 'the tables are those of other declarations'
            USING ERRCODE = 'CF001';
    END IF;
    entry := last.seq + 1;
    said_at := greatest(moment, last.at);
    declared := last.declared;
    seconds := floor(extract(epoch FROM said_at));
    entry_hash := sha256(convert_to(
        opening || (extract(epoch FROM said_at) * 1000000)::bigint
            || middle || encode(last.hash, 'hex') || joint || entry || closing,
        'UTF8'));
    INSERT INTO control.journal_entry (seq, at, kind, actor, tenant, address, agent,
            signature, body, subject, personal, previous, hash)
        VALUES (entry, said_at, of_kind, by_actor, of_tenant, from_address, with_agent,
            signed_with, said, about, sealed, last.hash, entry_hash);
    INSERT INTO control.block (source, height, hash, parent_hash, time)
        VALUES (last.source, entry, entry_hash, last.hash, seconds);
    UPDATE control.coverage SET blocks = int8multirange(int8range(0, entry, '[]'))
        WHERE source = last.source;
    UPDATE control.source SET head = entry, head_time = seconds, final = entry,
            polled_at = now()
        WHERE id = last.source;
    UPDATE control.journal_head SET seq = entry, hash = entry_hash, at = said_at
        WHERE source = last.source;
    EXECUTE format(
        'INSERT INTO facts.%1$I'
        ' SELECT * FROM jsonb_populate_record(NULL::facts.%1$I, $1)',
        relation
    ) USING fact || jsonb_build_object(
            'source', last.source, 'position', entry << 32, 'block_time', seconds,
            'transaction', '\x' || encode(entry_hash, 'hex'));
    PERFORM pg_notify('chainfold', format('%s:%s:%s', last.source, entry, entry));
END $$
