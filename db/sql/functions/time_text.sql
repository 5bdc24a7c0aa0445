-- Seconds since 1970 as RFC 3339; what it cannot write as the seconds themselves.
--
-- `db.declare.times.time_text` is the same in Python.
CREATE OR REPLACE FUNCTION control.time_text(seconds numeric) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN seconds BETWEEN -62135596800 AND 253402300799
        THEN to_char(to_timestamp(seconds::double precision) AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ELSE trim_scale(seconds)::text
    END
$$
