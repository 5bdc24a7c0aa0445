-- Run the moves of a Stage: `moves` is {state: {tag: next state}}, `tags` the facts in
-- order. Returns the state and how many moves were not legal.
CREATE OR REPLACE FUNCTION control.stage_fold(tags text[], start text, moves jsonb)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    state text := start;
    refused bigint := 0;
    tag text;
    target text;
BEGIN
    FOREACH tag IN ARRAY coalesce(tags, '{}') LOOP
        target := moves -> state ->> tag;
        IF target IS NULL THEN
            refused := refused + 1;
        ELSE
            state := target;
        END IF;
    END LOOP;
    RETURN ARRAY[state, refused::text];
END $$
